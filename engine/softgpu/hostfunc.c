/* Host functions: user code called in stream order, on the queue's own thread. */
#include "stream.h"

typedef struct function_command {
  sg_command head;
  CUhostFn function;
  void *data;
} function_command;

typedef struct callback_command {
  sg_command head;
  CUstreamCallback callback;
  CUstream stream;
  void *data;
} callback_command;

/* User code must not make CUDA calls; those that need a context are told so. */
static CUresult run_function(sg_command *command) {
  function_command *f = (function_command *)command;
  sg_in_host_function = true;
  f->function(f->data);
  sg_in_host_function = false;
  return CUDA_SUCCESS;
}

static CUresult run_callback(sg_command *command) {
  callback_command *k = (callback_command *)command;
  sg_in_host_function = true;
  k->callback(k->stream, (CUresult)k->head.queue->context->sticky, k->data);
  sg_in_host_function = false;
  return CUDA_SUCCESS;
}

CUresult sg_cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
  sg_context *context;
  sg_queue *queue;
  CUresult r = sg_enter_stream(stream, &context, &queue);
  if (r != CUDA_SUCCESS) return r;
  if (!function) return CUDA_ERROR_INVALID_VALUE;
  function_command *f = sg_command_new(sizeof *f, run_function);
  if (!f) return CUDA_ERROR_OUT_OF_MEMORY;
  f->head.flags = SG_OWN_THREAD; /* on a broken context it is not called, as CUDA says */
  f->function = function;
  f->data = data;
  sg_queue_post(queue, &f->head);
  return CUDA_SUCCESS;
}

CUresult sg_cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *data,
                                unsigned int flags) {
  sg_context *context;
  sg_queue *queue;
  CUresult r = sg_enter_stream(stream, &context, &queue);
  if (r != CUDA_SUCCESS) return r;
  if (!callback || flags) return CUDA_ERROR_INVALID_VALUE;
  callback_command *k = sg_command_new(sizeof *k, run_callback);
  if (!k) return CUDA_ERROR_OUT_OF_MEMORY;
  k->head.flags = SG_OWN_THREAD | SG_ALWAYS;
  k->callback = callback;
  k->stream = stream;
  k->data = data;
  sg_queue_post(queue, &k->head);
  return CUDA_SUCCESS;
}
