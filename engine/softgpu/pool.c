/* Stream-ordered allocation: memory is taken when the call is made (its address is needed then) and
   given back when the stream gets to the free. A pool counts; it keeps nothing back. */
#include "pool.h"
#include "handle.h"
#include "memory.h"
#include "stream.h"
#include <string.h>

typedef struct sg_pool {
  sg_object object;
  sg_device *device;
  uint64_t threshold;
  int reuse[3]; /* accepted, kept, without effect */
  _Atomic uint64_t used, used_high;
} sg_pool;

typedef struct free_command {
  sg_command head;
  uintptr_t address;
} free_command;

static CUresult new_pool(sg_device *device, sg_pool **pool) {
  sg_pool *p = sg_object_new(SG_POOL, sizeof *p);
  if (!p) return CUDA_ERROR_OUT_OF_MEMORY;
  p->device = device;
  p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
  *pool = p;
  return CUDA_SUCCESS;
}

CUresult sg_pool_init_device(sg_device *device) {
  CUresult r = new_pool(device, &device->default_pool);
  device->current_pool = device->default_pool;
  return r;
}

static CUresult find(CUmemoryPool handle, sg_pool **pool) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *pool = sg_object_get(handle, SG_POOL);
  return *pool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- allocation */

static void count(sg_pool *pool, int64_t bytes) {
  uint64_t used = pool->used += (uint64_t)bytes;
  if (used > pool->used_high) pool->used_high = used;
}

static CUresult alloc(CUdeviceptr *pointer, size_t bytes, sg_pool *pool, CUstream stream) {
  sg_context *c;
  sg_queue *q;
  uintptr_t address;
  CUresult r = sg_enter_stream(stream, &c, &q);
  if (r != CUDA_SUCCESS) return r;
  if (!pointer) return CUDA_ERROR_INVALID_VALUE;
  if (!pool) pool = c->device->current_pool;
  r = sg_memory_alloc(c, bytes, SG_RANGE_DEVICE, pool, &address);
  if (r == CUDA_ERROR_OUT_OF_MEMORY) { /* frees may be on their way */
    sg_context_drain(c, false);
    r = sg_memory_alloc(c, bytes, SG_RANGE_DEVICE, pool, &address);
  }
  if (r != CUDA_SUCCESS) return r;
  count(pool, (int64_t)bytes);
  *pointer = address;
  return CUDA_SUCCESS;
}

CUresult sg_cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream stream) {
  return alloc(pointer, bytes, NULL, stream);
}

CUresult sg_cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool handle,
                                    CUstream stream) {
  sg_pool *pool;
  CUresult r = find(handle, &pool);
  return r == CUDA_SUCCESS ? alloc(pointer, bytes, pool, stream) : r;
}

static CUresult run_free(sg_command *command) {
  uintptr_t address = ((free_command *)command)->address;
  sg_range range;
  if (!sg_memory_find(address, &range)) return CUDA_SUCCESS; /* its context is gone */
  if (range.owner) count(range.owner, -(int64_t)range.bytes);
  sg_memory_free(address, SG_RANGE_DEVICE);
  return CUDA_SUCCESS;
}

CUresult sg_cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) {
  sg_context *c;
  sg_queue *q;
  sg_range range;
  CUresult r = sg_enter_stream(stream, &c, &q);
  if (r != CUDA_SUCCESS || !pointer) return r;
  if (!sg_memory_find(pointer, &range) || range.base != pointer || range.kind != SG_RANGE_DEVICE)
    return CUDA_ERROR_INVALID_VALUE;
  free_command *f = sg_command_new(sizeof *f, run_free);
  if (!f) return CUDA_ERROR_OUT_OF_MEMORY;
  f->head.flags = SG_ALWAYS;
  f->address = pointer;
  sg_queue_post(q, &f->head);
  return CUDA_SUCCESS;
}

/* ---- pools */

CUresult sg_cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice ordinal) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_device *d = sg_device_at(ordinal);
  if (!pool || !d) return d ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_DEVICE;
  *pool = (CUmemoryPool)d->default_pool;
  return CUDA_SUCCESS;
}

CUresult sg_cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice ordinal) {
  CUresult r = sg_cuDeviceGetDefaultMemPool(pool, ordinal);
  if (r == CUDA_SUCCESS) *pool = (CUmemoryPool)sg_device_at(ordinal)->current_pool;
  return r;
}

CUresult sg_cuDeviceSetMemPool(CUdevice ordinal, CUmemoryPool handle) {
  sg_pool *pool;
  CUresult r = find(handle, &pool);
  if (r == CUDA_SUCCESS && pool->device != sg_device_at(ordinal)) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) pool->device->current_pool = pool;
  return r;
}

CUresult sg_cuMemPoolCreate(CUmemoryPool *handle, const CUmemPoolProps *props) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!handle || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
    return CUDA_ERROR_INVALID_VALUE;
  if (props->handleTypes != CU_MEM_HANDLE_TYPE_NONE ||
      props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return CUDA_ERROR_NOT_SUPPORTED;
  sg_device *d = sg_device_at(props->location.id);
  return d ? new_pool(d, (sg_pool **)handle) : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sg_cuMemPoolDestroy(CUmemoryPool handle) {
  sg_pool *pool;
  CUresult r = find(handle, &pool);
  if (r != CUDA_SUCCESS) return r;
  sg_device *d = pool->device;
  if (pool == d->default_pool) return CUDA_ERROR_INVALID_VALUE;
  if (d->current_pool == pool) d->current_pool = d->default_pool;
  sg_object_retire(pool); /* allocations still name it: its slot is never reused */
  return CUDA_SUCCESS;
}

CUresult sg_cuMemPoolTrimTo(CUmemoryPool handle, size_t keep) {
  sg_pool *pool;
  (void)keep; /* nothing is kept back */
  return find(handle, &pool);
}

static bool is_reuse(CUmemPool_attribute a) {
  return a >= CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES &&
         a <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES;
}

CUresult sg_cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute a, void *value) {
  sg_pool *pool;
  CUresult r = find(handle, &pool);
  if (r != CUDA_SUCCESS) return r;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  if (is_reuse(a))
    pool->reuse[a - 1] = *(int *)value;
  else if (a == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
    memcpy(&pool->threshold, value, 8);
  else if (a == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
    pool->used_high = pool->used;
  else if (a != CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)
    return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

CUresult sg_cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute a, void *value) {
  sg_pool *pool;
  CUresult r = find(handle, &pool);
  if (r != CUDA_SUCCESS) return r;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  if (is_reuse(a)) {
    *(int *)value = pool->reuse[a - 1];
    return CUDA_SUCCESS;
  }
  switch (a) {
  case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *(uint64_t *)value = pool->threshold; break;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
  case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: *(uint64_t *)value = pool->used; break;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
  case CU_MEMPOOL_ATTR_USED_MEM_HIGH: *(uint64_t *)value = pool->used_high; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult sg_cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc *map, size_t entries) {
  sg_pool *pool;
  (void)map, (void)entries; /* one address space: every device has access */
  return find(handle, &pool);
}

CUresult sg_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool handle,
                               CUmemLocation *location) {
  sg_pool *pool;
  CUresult r = find(handle, &pool);
  if (r != CUDA_SUCCESS) return r;
  if (!flags || !location) return CUDA_ERROR_INVALID_VALUE;
  if (!sg_device_at(location->id)) return CUDA_ERROR_INVALID_DEVICE;
  *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return CUDA_SUCCESS;
}
