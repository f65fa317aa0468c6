/* context.c: contexts and the stack of them that each thread has. All local but for making,
 * destroying and waiting. */
#include <stdlib.h>

#include "context.h"
#include "memory.h"
#include "progress.h"
#include "session.h"
#include "shared.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define WIRE_MADE 64 /* contexts that the program makes are numbered from here */
#define VERSION_OLD 3020
#define FLAGS (CU_CTX_FLAGS_MASK)

/* ---- the stack */

static CUresult push(rm_context *context) {
  rm_thread *thread = rm_thread_self();
  if (!thread) return CUDA_ERROR_OUT_OF_MEMORY;
  if (thread->depth == thread->capacity) {
    uint32_t capacity = thread->capacity ? 2 * thread->capacity : 8;
    rm_context **stack = realloc(thread->stack, capacity * sizeof *stack);
    if (!stack) return CUDA_ERROR_OUT_OF_MEMORY;
    thread->stack = stack;
    thread->capacity = capacity;
  }
  thread->stack[thread->depth++] = context;
  return CUDA_SUCCESS;
}

CUresult rm_cuCtxPushCurrent(CUcontext handle) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_context *context = rm_object_get(RM_CONTEXT, handle);
  return context ? push(context) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult rm_cuCtxPopCurrent(CUcontext *out) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_context *context = rm_context_current();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (out) *out = (CUcontext)context;
  rm_tls.thread->depth--;
  return CUDA_SUCCESS;
}

CUresult rm_cuCtxSetCurrent(CUcontext handle) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_thread *thread = rm_thread_self();
  rm_context *context = rm_object_get(RM_CONTEXT, handle);
  if (!thread) return CUDA_ERROR_OUT_OF_MEMORY;
  if (handle && !context) return CUDA_ERROR_INVALID_CONTEXT;
  if (thread->depth) thread->depth--;
  return context ? push(context) : CUDA_SUCCESS;
}

CUresult rm_cuCtxGetCurrent(CUcontext *out) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  *out = (CUcontext)rm_context_current();
  return CUDA_SUCCESS;
}

/* ---- facts */

rm_context *rm_context_of(CUcontext handle) {
  return handle ? rm_object_get(RM_CONTEXT, handle) : rm_context_current();
}

static CUresult context_for(CUcontext handle, const void *out, rm_context **context) {
  CUresult status = rm_ready();
  if (status) return status;
  *context = rm_context_of(handle);
  if (!*context) return CUDA_ERROR_INVALID_CONTEXT;
  return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuCtxGetDevice(CUdevice *device, CUcontext handle) {
  rm_context *context;
  CUresult status = context_for(handle, device, &context);
  if (!status) *device = (CUdevice)context->device;
  return status;
}

CUresult rm_cuCtxGetFlags(unsigned int *flags) {
  rm_context *context;
  CUresult status = context_for(NULL, flags, &context);
  if (!status) *flags = context->flags;
  return status;
}

CUresult rm_cuCtxSetFlags(unsigned int flags) {
  rm_context *context;
  CUresult status = context_for(NULL, &flags, &context);
  if (!status && flags & ~(unsigned)FLAGS) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) context->flags = flags;
  return status;
}

CUresult rm_cuCtxGetId(CUcontext handle, unsigned long long *id) {
  rm_context *context;
  CUresult status = context_for(handle, id, &context);
  if (!status) *id = context->legacy.generation;
  return status;
}

CUresult rm_cuCtxGetApiVersion(CUcontext handle, unsigned int *version) {
  rm_context *context;
  CUresult status = context_for(handle, version, &context);
  if (!status) *version = context->version;
  return status;
}

CUresult rm_cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  rm_context *context;
  CUresult status = context_for(NULL, &context, &context);
  if (!status && least) *least = rm_session.priority_least;
  if (!status && greatest) *greatest = rm_session.priority_greatest;
  return status;
}

/* ---- making and destroying */

static rm_context *context_new(CUdevice device, unsigned int flags) {
  rm_context *context = rm_object_new(RM_CONTEXT);
  if (!context) return NULL;
  rm_progress_new(&context->legacy);
  context->device = (uint32_t)device;
  context->flags = flags;
  context->version = VERSION_OLD;
  context->wire = (uint16_t)(WIRE_MADE + context->object.id);
  return context;
}

rm_context *rm_context_primary(CUdevice device) {
  static rm_context *primaries[RM_DEVICES_MAX];
  rm_context *seen = __atomic_load_n(&primaries[device], __ATOMIC_ACQUIRE);
  if (seen) return seen;
  rm_context *made = context_new(device, 0);
  if (!made) return NULL;
  made->primary = true;
  made->wire = (uint16_t)(rm_session.devices[device].wire + 1);
  if (__atomic_compare_exchange_n(&primaries[device], &seen, made, false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE))
    return made;
  rm_object_free(made);
  return seen;
}

static CUresult post_create(const rm_context *context) {
  rm_call call;
  CUresult status = rm_call_begin_on(&call, NULL, RM_CALL_ctx_create, sizeof(rm_q_ctx_create));
  if (status) return status;
  *(rm_q_ctx_create *)call.body = (rm_q_ctx_create){
      .context = context->wire,
      .device = rm_session.devices[context->device].wire,
      .flags = context->flags,
  };
  return rm_call_post(&call);
}

CUresult rm_cuCtxCreate(CUcontext *out, CUctxCreateParams *params, unsigned int flags,
                        CUdevice device) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!rm_device_at(device)) return CUDA_ERROR_INVALID_DEVICE;
  if (!out || flags & ~(unsigned)FLAGS) return CUDA_ERROR_INVALID_VALUE;
  if (params && (params->numExecAffinityParams || params->cigParams))
    return CUDA_ERROR_NOT_SUPPORTED;
  rm_context *context = context_new(device, flags);
  if (!context) return CUDA_ERROR_OUT_OF_MEMORY;
  status = post_create(context);
  if (!status) status = push(context);
  if (status)
    rm_object_free(context);
  else
    *out = (CUcontext)context;
  return status;
}

CUresult rm_cuCtxDestroy(CUcontext handle) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_context *context = rm_object_get(RM_CONTEXT, handle);
  if (!context || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  rm_call call;
  rm_memory_forget(context); /* before its addresses can be given out anew; takes locks */
  status = rm_call_begin_on(&call, NULL, RM_CALL_ctx_destroy, sizeof(rm_q_ctx_destroy));
  if (status) return status;
  ((rm_q_ctx_destroy *)call.body)->context = context->wire;
  rm_call_post(&call);
  if (rm_context_current() == context) rm_tls.thread->depth--;
  rm_context_forget(context);
  rm_object_free(context);
  return CUDA_SUCCESS;
}

/* The old reference counting: a context that the program makes has one reference. */
CUresult rm_cuCtxAttach(CUcontext *out, unsigned int flags) {
  rm_context *context;
  CUresult status = context_for(NULL, out, &context);
  if (!status && flags) status = CUDA_ERROR_INVALID_VALUE;
  if (status) return status;
  context->references++;
  *out = (CUcontext)context;
  return CUDA_SUCCESS;
}

CUresult rm_cuCtxDetach(CUcontext handle) {
  rm_context *context;
  CUresult status = context_for(handle, &context, &context);
  if (status) return status;
  if (!context->references) return rm_cuCtxDestroy(handle);
  context->references--;
  return CUDA_SUCCESS;
}

CUresult rm_cuCtxSynchronize(CUcontext handle) {
  rm_context *context;
  rm_call call;
  CUresult status = context_for(handle, &context, &context);
  if (!status) status = rm_call_begin_on(&call, context, RM_CALL_ctx_sync, 0);
  if (status) return status;
  uint64_t now = rm_progress_now();
  status = rm_call_wait(&call, NULL, 0);
  if (status) return status;
  rm_progress_reached(&context->synced, now);
  return rm_shared_synced(context, NULL, now);
}

/* ---- peers: what was enabled is kept here, so that a reset forgets it; the engine only adds */

static CUresult peer_for(CUcontext handle, rm_context **own, uint64_t *bit) {
  rm_context *peer;
  CUresult status = context_for(NULL, own, own);
  if (!status) status = context_for(handle, &peer, &peer);
  if (status || !handle) return status ? status : CUDA_ERROR_INVALID_CONTEXT;
  if (peer->device == (*own)->device) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  *bit = 1ull << peer->device;
  return CUDA_SUCCESS;
}

CUresult rm_cuCtxEnablePeerAccess(CUcontext handle, unsigned int flags) {
  rm_context *own;
  rm_call call;
  uint64_t bit, peer;
  CUresult status = peer_for(handle, &own, &bit);
  if (!status && flags) status = CUDA_ERROR_INVALID_VALUE;
  if (!status && own->peers & bit) status = CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  if (!status) status = rm_id_context(handle, &peer);
  if (!status) status = rm_call_begin_on(&call, own, RM_CALL_peer_enable, sizeof(rm_q_peer_enable));
  if (status) return status;
  ((rm_q_peer_enable *)call.body)->peer = peer;
  status = rm_call_wait(&call, NULL, 0);
  if (!status) __atomic_fetch_or(&own->peers, bit, __ATOMIC_RELAXED);
  return status;
}

CUresult rm_cuCtxDisablePeerAccess(CUcontext handle) {
  rm_context *own;
  uint64_t bit;
  CUresult status = peer_for(handle, &own, &bit);
  if (status)
    return status == CUDA_ERROR_PEER_ACCESS_UNSUPPORTED ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED
                                                        : status;
  uint64_t before = __atomic_fetch_and(&own->peers, ~bit, __ATOMIC_RELAXED);
  return before & bit ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}
