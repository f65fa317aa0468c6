/* launch.h: what launches and occupancy questions share. */
#ifndef REMORA_SHIM_LAUNCH_H
#define REMORA_SHIM_LAUNCH_H

#include "objects.h"

/* Whether the attributes can travel as they are; sets flag 1 for a cooperative launch. */
CUresult rm_launch_attributes(const CUlaunchAttribute *attributes, uint32_t count, uint32_t *flags);

#endif
