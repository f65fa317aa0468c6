/* host_memory.c: pinned host memory. It is ordinary memory of this process; "pinned" means that
 * asynchronous copies may read and write it when the stream gets there. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "context.h"
#include "memory.h"
#include "pending.h"
#include "ranges.h"
#include "session.h"
#include "shared.h"
#include "thread.h"
#include "../generated/local.h"

#define ALLOC_FLAGS                                                                                \
  (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED)
#define REGISTER_FLAGS                                                                             \
  (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY)

static CUresult current(rm_context **context) {
  CUresult status = rm_ready();
  *context = rm_context_current();
  return status || *context ? status : CUDA_ERROR_INVALID_CONTEXT;
}

/* Over RDMA the network card reads and writes pinned memory in place, if it may be locked. */
static void make_known(void *at, size_t bytes) {
  static bool told;
  int error = rm_register(rm_session.channel, at, bytes);
  if (!error || error == -EEXIST || __atomic_exchange_n(&told, true, __ATOMIC_RELAXED)) return;
  rm_say(
      "%zu bytes of pinned memory could not be registered for RDMA (%s): copies from and to such "
      "memory are staged; raise the limit on locked memory (ulimit -l)",
      bytes, strerror(-error));
}

/* At an address that the device has too. */
static CUresult alloc_mapped(rm_context *context, void **out, size_t bytes, unsigned int flags) {
  CUdeviceptr at;
  rm_range as = {.bytes = bytes, .kind = RM_RANGE_HOST, .flags = flags, .context = context};
  CUresult status = rm_memory_share(&as, &at);
  if (!status) *out = (void *)(uintptr_t)at;
  return status;
}

CUresult rm_cuMemHostAlloc(void **out, size_t bytes, unsigned int flags) {
  rm_context *context;
  CUresult status = current(&context);
  if (status) return status;
  if (!out || !bytes || flags & ~(unsigned)ALLOC_FLAGS) return CUDA_ERROR_INVALID_VALUE;
  if (flags & CU_MEMHOSTALLOC_DEVICEMAP) return alloc_mapped(context, out, bytes, flags);
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  rm_range range = {.base = (uint64_t)(uintptr_t)at,
                    .bytes = bytes,
                    .kind = RM_RANGE_HOST,
                    .flags = flags,
                    .context = context};
  if (!rm_range_add(&range)) {
    munmap(at, bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  make_known(at, bytes);
  *out = at;
  return CUDA_SUCCESS;
}

CUresult rm_cuMemAllocHost(void **out, size_t bytes) { return rm_cuMemHostAlloc(out, bytes, 0); }

/* Copies that are under way still need the memory. */
CUresult rm_cuMemFreeHost(void *at) {
  rm_range range;
  CUresult status = rm_in_callback() ? CUDA_ERROR_NOT_PERMITTED : rm_ready();
  if (status) return status;
  uint64_t base = (uint64_t)(uintptr_t)at;
  if (!rm_range_find(base, &range) || range.base != base || range.kind != RM_RANGE_HOST)
    return CUDA_ERROR_INVALID_VALUE;
  status = rm_memory_unshare(base);
  if (!rm_range_remove(base, 1u << RM_RANGE_HOST, &range)) return CUDA_ERROR_INVALID_VALUE;
  if (rm_is_device_address(base)) return status;
  CUresult drained = rm_pending_drain(at, range.bytes);
  rm_deregister(rm_session.channel, at, range.bytes);
  munmap(at, range.bytes);
  return status ? status : drained;
}

CUresult rm_cuMemHostRegister(void *at, size_t bytes, unsigned int flags) {
  rm_context *context;
  CUresult status = current(&context);
  if (status) return status;
  if (flags & CU_MEMHOSTREGISTER_IOMEMORY) return CUDA_ERROR_NOT_SUPPORTED;
  if (!at || !bytes || (uintptr_t)at + bytes < bytes || flags & ~(unsigned)REGISTER_FLAGS)
    return CUDA_ERROR_INVALID_VALUE;
  rm_range range = {.base = (uint64_t)(uintptr_t)at,
                    .bytes = bytes,
                    .kind = RM_RANGE_REGISTERED,
                    .flags = flags,
                    .context = context};
  if (!rm_range_add(&range)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  make_known(at, bytes);
  return CUDA_SUCCESS;
}

CUresult rm_cuMemHostUnregister(void *at) {
  rm_range range;
  CUresult status = rm_in_callback() ? CUDA_ERROR_NOT_PERMITTED : rm_ready();
  if (status) return status;
  uint64_t base = (uint64_t)(uintptr_t)at;
  if (!rm_range_find(base, &range) || range.base != base || range.kind != RM_RANGE_REGISTERED)
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  status = rm_memory_unshare(base);
  if (!rm_range_remove(base, 1u << RM_RANGE_REGISTERED, &range))
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  CUresult drained = rm_pending_drain(at, range.bytes);
  rm_deregister(rm_session.channel, at, range.bytes);
  return status ? status : drained;
}

static CUresult pinned_for(const void *at, const void *out, rm_range *range) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!out || !rm_range_find((uint64_t)(uintptr_t)at, range) || !rm_range_pinned(range))
    return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

/* Memory that was asked for as mapped has one address; of other pinned memory the device gets a
 * copy when the program first asks for its address there. */
CUresult rm_cuMemHostGetDevicePointer(CUdeviceptr *out, void *at, unsigned int flags) {
  rm_range range;
  CUresult status = pinned_for(at, out, &range);
  if (status || flags) return status ? status : CUDA_ERROR_INVALID_VALUE;
  uint64_t address = (uint64_t)(uintptr_t)at;
  if (!rm_shared_translate(&address)) {
    CUdeviceptr base;
    status = rm_memory_mirror(range.context, range.base, range.bytes, &base);
    if (!status) address = base + (address - range.base);
  }
  if (!status) *out = address;
  return status;
}

CUresult rm_cuMemHostGetFlags(unsigned int *flags, void *at) {
  rm_range range;
  CUresult status = pinned_for(at, flags, &range);
  if (!status) *flags = range.flags | CU_MEMHOSTALLOC_DEVICEMAP;
  return status;
}
