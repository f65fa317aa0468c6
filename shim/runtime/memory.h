/* memory.h: device memory, as pools and contexts need it. */
#ifndef REMORA_SHIM_MEMORY_H
#define REMORA_SHIM_MEMORY_H

#include "ranges.h"

/* Asks for bytes of device memory in the context and notes the address. */
CUresult rm_memory_alloc(rm_context *context, size_t bytes, void *owner, CUdeviceptr *out);
/* The same, zero, usable by the host at the same address; `as` says what kind of range it is. */
CUresult rm_memory_share(const rm_range *as, CUdeviceptr *out);
/* Zero device memory that stands for memory of the host's from now on. */
CUresult rm_memory_mirror(rm_context *context, uint64_t host, size_t bytes, CUdeviceptr *out);
/* Ends either of them: waits for the device, fetches, frees what it has there. */
CUresult rm_memory_unshare(uint64_t host);
/* Frees device memory that is no longer in the table of ranges. Waits for the device. */
CUresult rm_memory_free(rm_context *context, CUdeviceptr address);
/* Memory was freed: the pool that it came from, if any, has it back. */
void rm_pool_returned(const rm_range *range);
/* Forgets the device addresses of a context that is gone. */
void rm_memory_forget(rm_context *context);

#endif
