/* The cuCtx* and cuDevicePrimaryCtx* families. Each thread has its own stack of contexts. */
#include "context.h"
#include "event.h"
#include "memory.h"
#include "module.h"
#include "pool.h"
#include "queue.h"
#include "runtime.h"
#include "storage.h"
#include "stream.h"
#include <string.h>

enum { STACK_DEPTH = 64 };

static __thread struct {
  sg_context *stack[STACK_DEPTH];
  int depth;
} tls;

__thread bool sg_in_host_function;

static const size_t default_limits[SG_LIMITS] = {
    [CU_LIMIT_STACK_SIZE] = 1024,
    [CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20,
    [CU_LIMIT_MALLOC_HEAP_SIZE] = SG_HEAP_BYTES,
    [CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2,
    [CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048,
    [CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64,
};

/* ---- life */

static sg_context *new_context(sg_device *device, unsigned flags) {
  static _Atomic uint64_t ids = 1;
  sg_context *c = sg_object_new(SG_CONTEXT, sizeof *c);
  if (!c) return NULL;
  c->device = device;
  c->id = ids++;
  c->flags = flags;
  pthread_mutex_init(&c->lock, NULL);
  memcpy(c->limits, default_limits, sizeof c->limits);
  return c;
}

/* What makes a context usable; a primary one goes through this each time it is retained anew. */
static CUresult activate(sg_context *c) {
  c->legacy = sg_queue_new(c, 0, 0);
  if (!c->legacy) return CUDA_ERROR_OUT_OF_MEMORY;
  c->sticky = 0;
  c->peers = 0;
  c->active = true;
  return CUDA_SUCCESS;
}

static void deactivate(sg_context *c) {
  if (!c->active) return;
  sg_context_drain(c, false);
  c->active = false;
  sg_events_forget(c);
  sg_streams_forget(c);
  sg_storage_forget(c);
  sg_modules_forget(c);
  sg_queue_close(c->legacy);
  c->legacy = NULL;
  sg_memory_forget(c);
}

sg_context *sg_context_make_primary(sg_device *device) { return new_context(device, 0); }

/* ---- state */

sg_context *sg_context_current(void) { return tls.depth ? tls.stack[tls.depth - 1] : NULL; }

CUresult sg_context_state(const sg_context *c) {
  if (sg_in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  if (!c->active) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return (CUresult)c->sticky;
}

void sg_context_break(sg_context *c, CUresult error) {
  int none = 0;
  __atomic_compare_exchange_n(&c->sticky, &none, (int)error, false, __ATOMIC_SEQ_CST,
                              __ATOMIC_SEQ_CST);
}

CUresult sg_enter(sg_context **context) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (sg_in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  sg_context *c = sg_context_current();
  if (!c || c->object.kind != SG_CONTEXT) return CUDA_ERROR_INVALID_CONTEXT;
  *context = c;
  return sg_context_state(c);
}

CUresult sg_enter_context(CUcontext handle, sg_context **context) {
  if (!handle) return sg_enter(context);
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *context = sg_object_get(handle, SG_CONTEXT);
  return *context ? sg_context_state(*context) : CUDA_ERROR_INVALID_CONTEXT;
}

/* ---- the stack of the calling thread */

static CUresult push(sg_context *c) {
  if (tls.depth == STACK_DEPTH) return CUDA_ERROR_INVALID_VALUE;
  tls.stack[tls.depth++] = c;
  return CUDA_SUCCESS;
}

CUresult sg_cuCtxSetCurrent(CUcontext handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_context *c = handle ? sg_object_get(handle, SG_CONTEXT) : NULL;
  if (handle && !c) return CUDA_ERROR_INVALID_CONTEXT;
  if (tls.depth) tls.depth--;
  return c ? push(c) : CUDA_SUCCESS;
}

CUresult sg_cuCtxGetCurrent(CUcontext *context) {
  CUresult r = sg_initialised();
  if (r == CUDA_SUCCESS && !context) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *context = (CUcontext)sg_context_current();
  return r;
}

CUresult sg_cuCtxPushCurrent(CUcontext handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_context *c = sg_object_get(handle, SG_CONTEXT);
  return c ? push(c) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult sg_cuCtxPopCurrent(CUcontext *context) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!tls.depth) return CUDA_ERROR_INVALID_CONTEXT;
  sg_context *c = tls.stack[--tls.depth];
  if (context) *context = (CUcontext)c;
  return CUDA_SUCCESS;
}

CUresult sg_cuCtxCreate(CUcontext *context, CUctxCreateParams *params, unsigned int flags,
                        CUdevice ordinal) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!context) return CUDA_ERROR_INVALID_VALUE;
  if (params && (params->execAffinityParams || params->cigParams)) return CUDA_ERROR_NOT_SUPPORTED;
  sg_device *d = sg_device_at(ordinal);
  if (!d) return CUDA_ERROR_INVALID_DEVICE;
  sg_context *c = new_context(d, flags);
  if (!c) return CUDA_ERROR_OUT_OF_MEMORY;
  r = activate(c);
  if (r == CUDA_SUCCESS) r = push(c);
  if (r == CUDA_SUCCESS) *context = (CUcontext)c;
  return r;
}

CUresult sg_cuCtxDestroy(CUcontext handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_context *c = sg_object_get(handle, SG_CONTEXT);
  if (!c || c == c->device->primary) return CUDA_ERROR_INVALID_CONTEXT;
  deactivate(c);
  if (sg_context_current() == c) tls.depth--;
  sg_object_free(c);
  return CUDA_SUCCESS;
}

/* ---- primary contexts */

static pthread_mutex_t primary_lock = PTHREAD_MUTEX_INITIALIZER;

static CUresult find_primary(CUdevice ordinal, sg_context **context) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_device *d = sg_device_at(ordinal);
  if (!d) return CUDA_ERROR_INVALID_DEVICE;
  *context = d->primary;
  return CUDA_SUCCESS;
}

CUresult sg_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice ordinal) {
  sg_context *c;
  CUresult r = find_primary(ordinal, &c);
  if (r != CUDA_SUCCESS) return r;
  if (!context) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&primary_lock);
  if (!c->active) r = activate(c);
  if (r == CUDA_SUCCESS) c->retains++;
  pthread_mutex_unlock(&primary_lock);
  *context = (CUcontext)c;
  return r;
}

CUresult sg_cuDevicePrimaryCtxRelease(CUdevice ordinal) {
  sg_context *c;
  CUresult r = find_primary(ordinal, &c);
  if (r != CUDA_SUCCESS) return r;
  pthread_mutex_lock(&primary_lock);
  if (c->retains == 0)
    r = CUDA_ERROR_INVALID_CONTEXT;
  else if (--c->retains == 0)
    deactivate(c);
  pthread_mutex_unlock(&primary_lock);
  return r;
}

CUresult sg_cuDevicePrimaryCtxReset(CUdevice ordinal) {
  sg_context *c;
  CUresult r = find_primary(ordinal, &c);
  if (r != CUDA_SUCCESS) return r;
  pthread_mutex_lock(&primary_lock);
  deactivate(c);
  if (c->retains) r = activate(c);
  pthread_mutex_unlock(&primary_lock);
  return r;
}

CUresult sg_cuDevicePrimaryCtxSetFlags(CUdevice ordinal, unsigned int flags) {
  sg_context *c;
  CUresult r = find_primary(ordinal, &c);
  if (r == CUDA_SUCCESS) c->flags = flags;
  return r;
}

CUresult sg_cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned int *flags, int *active) {
  sg_context *c;
  CUresult r = find_primary(ordinal, &c);
  if (r != CUDA_SUCCESS) return r;
  if (!flags || !active) return CUDA_ERROR_INVALID_VALUE;
  *flags = c->flags;
  *active = c->active;
  return CUDA_SUCCESS;
}
