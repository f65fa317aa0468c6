/* memory.h: device memory, as pools and contexts need it. */
#ifndef REMORA_SHIM_MEMORY_H
#define REMORA_SHIM_MEMORY_H

#include "ranges.h"

/* Asks for bytes of device memory in the context and notes the address. */
CUresult rm_memory_alloc(rm_context *context, size_t bytes, void *owner, CUdeviceptr *out);
/* Memory was freed: the pool that it came from, if any, has it back. */
void rm_pool_returned(const rm_range *range);
/* Forgets the device addresses of a context that is gone. */
void rm_memory_forget(const rm_context *context);

#endif
