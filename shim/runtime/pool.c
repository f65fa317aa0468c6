/* pool.c: stream-ordered memory. Each device has its default pool, and those that the program
 * makes; memory comes from the quota as all memory does, and goes back when the stream gets to the
 * free. */
#include <string.h>

#include "memory.h"
#include "progress.h"
#include "ranges.h"
#include "session.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

static rm_pool *current[RM_DEVICES_MAX]; /* NULL: the default pool */

static rm_pool *new_pool(CUdevice device) {
  rm_pool *pool = rm_object_new(RM_POOL);
  if (!pool) return NULL;
  pool->device = (uint32_t)device;
  pool->holds = 1;
  pool->reuse[0] = pool->reuse[1] = pool->reuse[2] = 1;
  return pool;
}

static rm_pool *standard_pool(CUdevice device) {
  static rm_pool *pools[RM_DEVICES_MAX];
  rm_pool *seen = __atomic_load_n(&pools[device], __ATOMIC_ACQUIRE);
  if (seen) return seen;
  rm_pool *made = new_pool(device);
  if (!made) return NULL;
  made->standard = true;
  if (__atomic_compare_exchange_n(&pools[device], &seen, made, false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE))
    return made;
  rm_object_free(made);
  return seen;
}

static rm_pool *current_pool(CUdevice device) {
  rm_pool *pool = __atomic_load_n(&current[device], __ATOMIC_ACQUIRE);
  return pool ? pool : standard_pool(device);
}

CUresult rm_cuDeviceGetDefaultMemPool(CUmemoryPool *out, CUdevice device) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!rm_device_at(device)) return CUDA_ERROR_INVALID_DEVICE;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  *out = (CUmemoryPool)standard_pool(device);
  return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult rm_cuDeviceGetMemPool(CUmemoryPool *out, CUdevice device) {
  CUresult status = rm_cuDeviceGetDefaultMemPool(out, device);
  if (!status) *out = (CUmemoryPool)current_pool(device);
  return status;
}

CUresult rm_cuDeviceSetMemPool(CUdevice device, CUmemoryPool handle) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!rm_device_at(device)) return CUDA_ERROR_INVALID_DEVICE;
  rm_pool *pool = rm_object_get(RM_POOL, handle);
  if (!pool || pool->device != (uint32_t)device) return CUDA_ERROR_INVALID_VALUE;
  __atomic_store_n(&current[device], pool, __ATOMIC_RELEASE);
  return CUDA_SUCCESS;
}

static void let_go(rm_pool *pool) {
  if (!__atomic_sub_fetch(&pool->holds, 1, __ATOMIC_ACQ_REL)) rm_object_free(pool);
}

/* ---- pools of the program's own: they count, as the default one does */

CUresult rm_cuMemPoolCreate(CUmemoryPool *out, const CUmemPoolProps *props) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!out || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
    return CUDA_ERROR_INVALID_VALUE;
  if (props->handleTypes != CU_MEM_HANDLE_TYPE_NONE ||
      props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (!rm_device_at(props->location.id)) return CUDA_ERROR_INVALID_DEVICE;
  *out = (CUmemoryPool)new_pool(props->location.id);
  return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult rm_cuMemPoolDestroy(CUmemoryPool handle) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_pool *pool = rm_object_get(RM_POOL, handle), *own = pool;
  if (!pool || pool->standard) return CUDA_ERROR_INVALID_VALUE;
  __atomic_compare_exchange_n(&current[pool->device], &own, NULL, false, __ATOMIC_ACQ_REL,
                              __ATOMIC_ACQUIRE);
  rm_object_retire(pool); /* while allocations name it, it stays without a handle */
  let_go(pool);
  return CUDA_SUCCESS;
}

/* ---- allocating and freeing */

static void charge(rm_pool *pool, uint64_t bytes) {
  __atomic_add_fetch(&pool->holds, 1, __ATOMIC_ACQ_REL);
  uint64_t used = __atomic_add_fetch(&pool->used, bytes, __ATOMIC_RELAXED);
  rm_progress_reached(&pool->used_high, used);
}

void rm_pool_returned(const rm_range *range) {
  rm_pool *pool = range->owner;
  if (!pool) return;
  __atomic_sub_fetch(&pool->used, range->bytes, __ATOMIC_RELAXED);
  let_go(pool);
}

static CUresult alloc(CUdeviceptr *out, size_t bytes, CUmemoryPool handle, CUstream stream) {
  rm_target target;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(stream, &target);
  if (status) return status;
  rm_pool *pool =
      handle ? rm_object_get(RM_POOL, handle) : current_pool((CUdevice)target.context->device);
  if (!pool) return CUDA_ERROR_INVALID_VALUE;
  status = rm_memory_alloc(target.context, bytes, pool, out);
  if (!status) charge(pool, bytes);
  return status;
}

CUresult rm_cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream stream) {
  return alloc(out, bytes, NULL, stream);
}

CUresult rm_cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t bytes, CUmemoryPool pool,
                                    CUstream stream) {
  return pool ? alloc(out, bytes, pool, stream) : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
  rm_target stream;
  rm_range range;
  rm_call call;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &stream);
  if (!status && !rm_range_remove(address, 1u << RM_RANGE_DEVICE, &range))
    status = CUDA_ERROR_INVALID_VALUE;
  if (!status)
    status = rm_call_begin_on(&call, stream.context, RM_CALL_mem_free_async,
                              sizeof(rm_q_mem_free_async));
  if (status) return status;
  rm_tls.touched = stream.progress;
  *(rm_q_mem_free_async *)call.body = (rm_q_mem_free_async){.stream = stream.id, .ptr = address};
  rm_pool_returned(&range);
  return rm_call_post(&call);
}

/* ---- attributes */

static CUresult pool_for(CUmemoryPool handle, const void *value, rm_pool **pool) {
  CUresult status = rm_ready();
  if (status) return status;
  *pool = rm_object_get(RM_POOL, handle);
  return *pool && value ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value) {
  rm_pool *pool;
  CUresult status = pool_for(handle, value, &pool);
  if (status) return status;
  switch ((int)attribute) {
  case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
  case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
  case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
    memcpy(value, &pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES], 4);
    return CUDA_SUCCESS;
  case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: memcpy(value, &pool->release_threshold, 8); break;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
  case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: memcpy(value, &pool->used, 8); break;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
  case CU_MEMPOOL_ATTR_USED_MEM_HIGH: memcpy(value, &pool->used_high, 8); break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult rm_cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value) {
  rm_pool *pool;
  CUresult status = pool_for(handle, value, &pool);
  if (status) return status;
  switch ((int)attribute) {
  case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
  case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
  case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
    memcpy(&pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES], value, 4);
    break;
  case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: memcpy(&pool->release_threshold, value, 8); break;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
  case CU_MEMPOOL_ATTR_USED_MEM_HIGH: pool->used_high = pool->used; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

/* Nothing is held back, so there is nothing to trim. */
CUresult rm_cuMemPoolTrimTo(CUmemoryPool handle, size_t keep) {
  rm_pool *pool;
  (void)keep;
  return pool_for(handle, handle, &pool);
}

CUresult rm_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool handle,
                               CUmemLocation *location) {
  rm_pool *pool;
  CUresult status = pool_for(handle, flags, &pool);
  if (status || !location) return status ? status : CUDA_ERROR_INVALID_VALUE;
  *flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
  if (location->type != CU_MEM_LOCATION_TYPE_DEVICE || !rm_device_at(location->id))
    return CUDA_SUCCESS;
  if (location->id == (int)pool->device || pool->writers >> location->id & 1)
    *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  else if (pool->readers >> location->id & 1)
    *flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
  return CUDA_SUCCESS;
}

static CUresult grant(const rm_pool *pool, CUdevice user) {
  rm_call call;
  CUresult status = rm_call_begin_on(&call, NULL, RM_CALL_peer_grant, sizeof(rm_q_peer_grant));
  if (status) return status;
  *(rm_q_peer_grant *)call.body = (rm_q_peer_grant){.owner = pool->device, .user = (uint32_t)user};
  return rm_call_wait(&call, NULL, 0);
}

static CUresult set_access(rm_pool *pool, const CUmemAccessDesc *to) {
  if (to->location.type != CU_MEM_LOCATION_TYPE_DEVICE || !rm_device_at(to->location.id))
    return CUDA_ERROR_INVALID_DEVICE;
  bool own = to->location.id == (int)pool->device;
  bool none = to->flags == CU_MEM_ACCESS_FLAGS_PROT_NONE;
  if (own) return none ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  uint64_t bit = 1ull << to->location.id;
  CUresult status = none ? CUDA_SUCCESS : grant(pool, to->location.id);
  if (status) return status;
  pool->readers = none ? pool->readers & ~bit : pool->readers | bit;
  bool writes = to->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  pool->writers = writes ? pool->writers | bit : pool->writers & ~bit;
  return CUDA_SUCCESS;
}

/* The owner's access can't be taken away; another device's, once given, is only forgotten. */
CUresult rm_cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc *map, size_t count) {
  rm_pool *pool;
  CUresult status = pool_for(handle, map, &pool);
  for (size_t i = 0; i < count && !status; i++) status = set_access(pool, &map[i]);
  return status;
}
