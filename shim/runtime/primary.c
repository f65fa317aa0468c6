/* primary.c: primary contexts: one for each device, shared by everything in the process. */
#include "context.h"
#include "context_storage.h"
#include "modules.h"
#include "memory.h"
#include "session.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define FLAGS (CU_CTX_FLAGS_MASK)

static CUresult primary_for(CUdevice device, rm_context **context) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!rm_device_at(device)) return CUDA_ERROR_INVALID_DEVICE;
  *context = rm_context_primary(device);
  return *context ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult rm_cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
  rm_context *context;
  CUresult status = primary_for(device, &context);
  if (status) return status;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  __atomic_add_fetch(&context->references, 1, __ATOMIC_RELAXED);
  *out = (CUcontext)context;
  return CUDA_SUCCESS;
}

static CUresult ask_for_reset(rm_context *context) {
  rm_call call;
  __atomic_store_n(&context->sticky, 0, __ATOMIC_RELAXED);
  rm_memory_forget(context); /* before its addresses can be given out anew; takes locks */
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_ctx_reset, 0);
  if (status) return status;
  return rm_call_wait(&call, NULL, 0);
}

/* Everything in it goes, here and on the engine; the handle stays good for the next retain. An
 * earlier call's failure may come instead, once: it goes with the context. */
static CUresult reset(rm_context *context) {
  CUresult status = ask_for_reset(context);
  if (status && rm_attached()) status = ask_for_reset(context);
  rm_context_forget(context);
  context->flags = 0;
  context->peers = 0;
  return status;
}

CUresult rm_cuDevicePrimaryCtxRelease(CUdevice device) {
  rm_context *context;
  CUresult status = primary_for(device, &context);
  if (status) return status;
  if (!context->references) return CUDA_ERROR_INVALID_CONTEXT;
  if (__atomic_sub_fetch(&context->references, 1, __ATOMIC_ACQ_REL)) return CUDA_SUCCESS;
  return reset(context);
}

CUresult rm_cuDevicePrimaryCtxReset(CUdevice device) {
  rm_context *context;
  CUresult status = primary_for(device, &context);
  return status ? status : reset(context);
}

CUresult rm_cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned int flags) {
  rm_context *context;
  CUresult status = primary_for(device, &context);
  if (!status && flags & ~(unsigned)FLAGS) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) context->flags = flags;
  return status;
}

CUresult rm_cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
  rm_context *context;
  CUresult status = primary_for(device, &context);
  if (status) return status;
  if (!flags || !active) return CUDA_ERROR_INVALID_VALUE;
  *flags = context->flags;
  *active = context->references > 0;
  return CUDA_SUCCESS;
}

static void forget_stream(rm_stream *stream) {
  stream->progress.generation = 0;
  rm_object_free(stream);
}

static void forget_event(rm_event *event) {
  event->progress.generation = 0;
  rm_object_free(event);
}

void rm_context_forget(rm_context *context) {
  uint32_t at = 0;
  for (rm_stream *stream; (stream = rm_object_each(RM_STREAM, &at));)
    if (stream->context == context) forget_stream(stream);
  at = 0;
  for (rm_event *event; (event = rm_object_each(RM_EVENT, &at));)
    if (event->context == context) forget_event(event);
  at = 0;
  for (rm_module *module; (module = rm_object_each(RM_MODULE, &at));)
    if (module->context == context) rm_module_forget(module);
  rm_storage_forget(context);
}
