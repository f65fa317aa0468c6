/* stream.c: streams. Creating, destroying and using one is posted; waiting for one asks, unless all
 * its work is known to be complete. */
#include "pending.h"
#include "progress.h"
#include "query.h"
#include "session.h"
#include "shared.h"
#include "stats.h"
#include "stream.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

static int clamp_priority(int priority) {
  if (priority > rm_session.priority_least) return rm_session.priority_least;
  return priority < rm_session.priority_greatest ? rm_session.priority_greatest : priority;
}

static CUresult post_create(const rm_stream *stream) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, stream->context, RM_CALL_stream_create, sizeof(rm_q_stream_create));
  if (status) return status;
  *(rm_q_stream_create *)call.body = (rm_q_stream_create){
      .stream = stream->object.id, .flags = stream->flags, .priority = stream->priority};
  return rm_call_post(&call);
}

CUresult rm_stream_new(rm_context *context, uint32_t flags, int priority, rm_stream **out) {
  rm_stream *stream = rm_object_new(RM_STREAM);
  if (!stream) return CUDA_ERROR_OUT_OF_MEMORY;
  rm_progress_new(&stream->progress);
  stream->context = context;
  stream->flags = flags;
  stream->priority = clamp_priority(priority);
  CUresult status = post_create(stream);
  if (status)
    rm_object_free(stream);
  else
    *out = stream;
  return status;
}

CUresult rm_cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_context *context = rm_context_current();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (!out || flags & ~(unsigned)CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  return rm_stream_new(context, flags, priority, (rm_stream **)out);
}

CUresult rm_cuStreamCreate(CUstream *out, unsigned int flags) {
  return rm_cuStreamCreateWithPriority(out, flags, 0);
}

CUresult rm_cuStreamDestroy(CUstream handle) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_stream *stream = rm_object_get(RM_STREAM, handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  rm_call call;
  status =
      rm_call_begin_on(&call, stream->context, RM_CALL_stream_destroy, sizeof(rm_q_stream_destroy));
  if (status) return status;
  ((rm_q_stream_destroy *)call.body)->stream = stream->object.id;
  rm_call_post(&call);
  stream->progress.generation = 0;
  rm_object_free(stream);
  return CUDA_SUCCESS;
}

/* ---- waiting and asking */

CUresult rm_cuStreamSynchronize(CUstream handle) {
  rm_target target;
  rm_call call;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &target);
  if (!status)
    status = rm_call_begin_on(&call, target.context, RM_CALL_stream_sync, sizeof(rm_q_stream_sync));
  if (status) return status;
  ((rm_q_stream_sync *)call.body)->stream = target.id;
  uint64_t now = rm_progress_now();
  status = rm_call_wait(&call, NULL, 0);
  if (status) return status;
  rm_progress_learned(target.progress, now);
  return rm_shared_synced(target.context, target.progress, now);
}

CUresult rm_cuStreamQuery(CUstream handle) {
  rm_target target;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &target);
  if (status) return status;
  uint64_t work = __atomic_load_n(&target.progress->work, __ATOMIC_RELAXED);
  status = rm_query(target.context, target.progress, target.id, 0);
  return status ? status : rm_shared_synced(target.context, target.progress, work);
}

/* ---- what is known here */

static CUresult stream_facts(CUstream handle, const void *out, rm_target *target) {
  CUresult status = rm_ready();
  if (!status && !out) status = CUDA_ERROR_INVALID_VALUE;
  return status ? status : rm_target_of(handle, target);
}

CUresult rm_cuStreamGetPriority(CUstream handle, int *priority) {
  rm_target target;
  CUresult status = stream_facts(handle, priority, &target);
  const rm_stream *stream = rm_object_get(RM_STREAM, handle);
  if (!status) *priority = stream ? stream->priority : 0;
  return status;
}

CUresult rm_cuStreamGetFlags(CUstream handle, unsigned int *flags) {
  rm_target target;
  CUresult status = stream_facts(handle, flags, &target);
  const rm_stream *stream = rm_object_get(RM_STREAM, handle);
  if (!status) *flags = stream ? stream->flags : CU_STREAM_DEFAULT;
  return status;
}

/* Unique among this process's streams, the default ones of each context and thread too. */
CUresult rm_cuStreamGetId(CUstream handle, unsigned long long *id) {
  rm_target target;
  CUresult status = stream_facts(handle, id, &target);
  if (!status) *id = target.progress->generation;
  return status;
}

CUresult rm_cuStreamGetCtx(CUstream handle, CUcontext *context, CUgreenCtx *green) {
  rm_target target;
  CUresult status = stream_facts(handle, context, &target);
  if (status) return status;
  *context = (CUcontext)target.context;
  if (green) *green = NULL;
  return CUDA_SUCCESS;
}

CUresult rm_cuStreamGetGreenCtx(CUstream handle, CUgreenCtx *green) {
  rm_target target;
  CUresult status = stream_facts(handle, green, &target);
  if (!status) *green = NULL; /* there are none */
  return status;
}

CUresult rm_cuStreamGetDevice(CUstream handle, CUdevice *device) {
  rm_target target;
  CUresult status = stream_facts(handle, device, &target);
  if (!status) *device = (CUdevice)target.context->device;
  return status;
}

/* ---- capture: not served yet, so nothing is ever captured */

CUresult rm_cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *capture) {
  rm_target target;
  CUresult status = stream_facts(handle, capture, &target);
  if (!status) *capture = CU_STREAM_CAPTURE_STATUS_NONE;
  return status;
}

CUresult rm_cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus *capture, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   const CUgraphEdgeData **edges, size_t *count) {
  (void)id, (void)graph, (void)dependencies, (void)edges;
  if (count) *count = 0;
  return rm_cuStreamIsCapturing(handle, capture);
}

CUresult rm_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  static __thread CUstreamCaptureMode current = CU_STREAM_CAPTURE_MODE_GLOBAL;
  CUresult status = rm_ready();
  if (status) return status;
  if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
  CUstreamCaptureMode before = current;
  current = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}
