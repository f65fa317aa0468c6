/* stream.h: making streams, for the runtime's own use. */
#ifndef REMORA_SHIM_STREAM_H
#define REMORA_SHIM_STREAM_H

#include "objects.h"

/* A stream of this context. */
CUresult rm_stream_new(rm_context *context, uint32_t flags, int priority, rm_stream **out);

#endif
