/* host_function.c: functions of the program that a stream calls: posted with a token; the engine
 * asks for the call when the stream gets there, and holds the stream until it has returned. */
#include "pending.h"
#include "progress.h"
#include "session.h"
#include "../generated/local.h"
#include "../generated/records.h"

static CUresult post(rm_pending *slot, uint64_t token, const rm_target *stream) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, stream->context, RM_CALL_host_func, sizeof(rm_q_host_func));
  if (status) {
    rm_pending_end(slot, status);
    return status;
  }
  rm_tls.touched = stream->progress;
  *(rm_q_host_func *)call.body = (rm_q_host_func){.stream = stream->id, .token = token};
  return rm_call_post(&call);
}

static CUresult enqueue(CUstream handle, CUhostFn function, CUstreamCallback stream_function,
                        void *user) {
  rm_target stream;
  uint64_t token;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &stream);
  if (!status && !function && !stream_function) status = CUDA_ERROR_INVALID_VALUE;
  if (status) return status;
  rm_pending what = {.kind = RM_PENDING_FUNCTION,
                     .function = function,
                     .stream_function = stream_function,
                     .user = user,
                     .stream = handle};
  rm_pending *slot = rm_pending_new(&what, &token);
  return slot ? post(slot, token, &stream) : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult rm_cuLaunchHostFunc(CUstream stream, CUhostFn function, void *user) {
  return enqueue(stream, function, NULL, user);
}

CUresult rm_cuStreamAddCallback(CUstream stream, CUstreamCallback function, void *user,
                                unsigned int flags) {
  return flags ? CUDA_ERROR_INVALID_VALUE : enqueue(stream, NULL, function, user);
}
