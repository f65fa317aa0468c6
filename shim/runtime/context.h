/* context.h: contexts, as the rest of the runtime needs them. */
#ifndef REMORA_SHIM_CONTEXT_H
#define REMORA_SHIM_CONTEXT_H

#include "objects.h"

/* The device's primary context; made on first use, retained or not. NULL: out of memory. */
rm_context *rm_context_primary(CUdevice device);
/* NULL: the current one. NULL if there is none, or handle is not a context. */
rm_context *rm_context_of(CUcontext handle);
/* Forgets what belonged to a context that is gone: its streams, events, modules, addresses. */
void rm_context_forget(rm_context *context);

#endif
