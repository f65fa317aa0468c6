/* Pinned host memory: every host page can be used by kernels here, so that pinning is a mark in the
   table of ranges which copies and pointer queries look at. */
#define _GNU_SOURCE
#include "memory.h"
#include "queue.h"
#include <sys/mman.h>

static CUresult add(sg_context *c, void *p, size_t bytes, sg_range_kind kind, unsigned flags) {
  sg_range range = {.base = (uintptr_t)p,
                    .bytes = bytes,
                    .kind = kind,
                    .flags = flags,
                    .context = c,
                    .device = c->device};
  return sg_memory_add(&range) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

CUresult sg_cuMemHostAlloc(void **pointer, size_t bytes, unsigned int flags) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!pointer || !bytes) return CUDA_ERROR_INVALID_VALUE;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  r = add(c, p, bytes, SG_RANGE_HOST, flags | CU_MEMHOSTALLOC_DEVICEMAP);
  if (r != CUDA_SUCCESS)
    munmap(p, bytes);
  else
    *pointer = p;
  return r;
}

CUresult sg_cuMemAllocHost(void **pointer, size_t bytes) {
  return sg_cuMemHostAlloc(pointer, bytes, 0);
}

/* Waits for what may still use it, then takes it out of the table. */
static CUresult remove_range(void *pointer, sg_range_kind kind, CUresult unknown, sg_range *range) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!sg_memory_find((uintptr_t)pointer, range) || range->kind != kind ||
      range->base != (uintptr_t)pointer)
    return unknown;
  sg_context_drain(c, false);
  return sg_memory_remove((uintptr_t)pointer, kind, range) ? CUDA_SUCCESS : unknown;
}

CUresult sg_cuMemFreeHost(void *pointer) {
  sg_range range;
  if (!pointer) return sg_initialised();
  CUresult r = remove_range(pointer, SG_RANGE_HOST, CUDA_ERROR_INVALID_VALUE, &range);
  if (r == CUDA_SUCCESS) munmap(pointer, range.bytes);
  return r;
}

CUresult sg_cuMemHostRegister(void *pointer, size_t bytes, unsigned int flags) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!pointer || !bytes) return CUDA_ERROR_INVALID_VALUE;
  if (flags & CU_MEMHOSTREGISTER_IOMEMORY) return CUDA_ERROR_NOT_SUPPORTED;
  return add(c, pointer, bytes, SG_RANGE_REGISTERED, flags | CU_MEMHOSTREGISTER_DEVICEMAP);
}

CUresult sg_cuMemHostUnregister(void *pointer) {
  sg_range range;
  return remove_range(pointer, SG_RANGE_REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, &range);
}

static CUresult find_host(void *pointer, sg_range *range) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  bool host = sg_memory_find((uintptr_t)pointer, range) &&
              (range->kind == SG_RANGE_HOST || range->kind == SG_RANGE_REGISTERED);
  return host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sg_cuMemHostGetDevicePointer(CUdeviceptr *device_pointer, void *pointer,
                                      unsigned int flags) {
  sg_range range;
  CUresult r = find_host(pointer, &range);
  if (r == CUDA_SUCCESS && (!device_pointer || flags)) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *device_pointer = (uintptr_t)pointer;
  return r;
}

CUresult sg_cuMemHostGetFlags(unsigned int *flags, void *pointer) {
  sg_range range;
  CUresult r = find_host(pointer, &range);
  if (r == CUDA_SUCCESS && !flags) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *flags = range.flags;
  return r;
}
