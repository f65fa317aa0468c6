/* The CUDA types, enums and error codes that the software GPU speaks: the generated facts, so that
   no vendor header is needed to build. */
#ifndef SG_CUDA_TYPES_H
#define SG_CUDA_TYPES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../shim/generated/softgpu_local.h"
#endif
