/* What a program asks and sets of the current context: device, limits, flags, ids, peers. */
#include "context.h"
#include "queue.h"
#include "runtime.h"

CUresult sg_cuCtxGetDevice(CUdevice *device, CUcontext handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_context *c = handle ? sg_object_get(handle, SG_CONTEXT) : sg_context_current();
  if (!c) return CUDA_ERROR_INVALID_CONTEXT;
  if (!device) return CUDA_ERROR_INVALID_VALUE;
  *device = c->device->ordinal;
  return CUDA_SUCCESS;
}

CUresult sg_cuCtxGetFlags(unsigned int *flags) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !flags) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *flags = c->flags;
  return r;
}

CUresult sg_cuCtxSetFlags(unsigned int flags) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r == CUDA_SUCCESS) c->flags = flags;
  return r;
}

CUresult sg_cuCtxGetId(CUcontext handle, unsigned long long *id) {
  sg_context *c;
  CUresult r = sg_enter_context(handle, &c);
  if (r == CUDA_SUCCESS && !id) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *id = c->id;
  return r;
}

CUresult sg_cuCtxGetApiVersion(CUcontext handle, unsigned int *version) {
  sg_context *c;
  CUresult r = sg_enter_context(handle, &c);
  if (r == CUDA_SUCCESS && !version) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *version = 3020;
  return r;
}

CUresult sg_cuCtxSynchronize(CUcontext handle) {
  sg_context *c;
  CUresult r = sg_enter_context(handle, &c);
  if (r != CUDA_SUCCESS) return r;
  sg_context_drain(c, false);
  return sg_context_state(c);
}

CUresult sg_cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return CUDA_SUCCESS;
}

CUresult sg_cuCtxGetLimit(size_t *value, CUlimit limit) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  if ((unsigned)limit >= SG_LIMITS) return CUDA_ERROR_UNSUPPORTED_LIMIT;
  *value = c->limits[limit];
  return CUDA_SUCCESS;
}

CUresult sg_cuCtxSetLimit(CUlimit limit, size_t value) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if ((unsigned)limit >= SG_LIMITS) return CUDA_ERROR_UNSUPPORTED_LIMIT;
  if (limit == CU_LIMIT_MALLOC_HEAP_SIZE) sg_runtime_limit_heap(value);
  c->limits[limit] = value;
  return CUDA_SUCCESS;
}

/* Caches are the CPU's own: preferences are accepted and have no effect. */
CUresult sg_cuCtxGetCacheConfig(CUfunc_cache *config) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !config) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *config = CU_FUNC_CACHE_PREFER_NONE;
  return r;
}

CUresult sg_cuCtxSetCacheConfig(CUfunc_cache config) {
  sg_context *c;
  (void)config;
  return sg_enter(&c);
}

CUresult sg_cuCtxResetPersistingL2Cache(void) {
  sg_context *c;
  return sg_enter(&c);
}

/* All devices share one address space, so that peers need no mapping: only the bookkeeping that
   programs check. */
CUresult sg_cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  sg_context *other = sg_object_get(peer, SG_CONTEXT);
  if (!other) return CUDA_ERROR_INVALID_CONTEXT;
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  if (other->device == c->device) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  uint32_t bit = 1u << other->device->ordinal;
  uint32_t before = __atomic_fetch_or(&c->peers, bit, __ATOMIC_RELAXED);
  return before & bit ? CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED : CUDA_SUCCESS;
}

CUresult sg_cuCtxDisablePeerAccess(CUcontext peer) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  sg_context *other = sg_object_get(peer, SG_CONTEXT);
  if (!other) return CUDA_ERROR_INVALID_CONTEXT;
  uint32_t bit = 1u << other->device->ordinal;
  uint32_t before = __atomic_fetch_and(&c->peers, ~bit, __ATOMIC_RELAXED);
  return before & bit ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}
