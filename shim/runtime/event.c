/* event.c: events. Creating, recording and destroying one is posted. */
#include "pending.h"
#include "progress.h"
#include "query.h"
#include "thread.h"
#include "session.h"
#include "shared.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define EVENT_FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS)

static CUresult event_for(CUevent handle, rm_event **event) {
  CUresult status = rm_ready();
  if (status) return status;
  *event = rm_object_get(RM_EVENT, handle);
  return *event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult post_create(const rm_event *event) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, event->context, RM_CALL_event_create, sizeof(rm_q_event_create));
  if (status) return status;
  *(rm_q_event_create *)call.body =
      (rm_q_event_create){.event = event->object.id, .flags = event->flags};
  return rm_call_post(&call);
}

CUresult rm_cuEventCreate(CUevent *out, unsigned int flags) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_context *context = rm_context_current();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (!out || flags & ~(unsigned)EVENT_FLAGS) return CUDA_ERROR_INVALID_VALUE;
  if (flags & CU_EVENT_INTERPROCESS) return CUDA_ERROR_NOT_SUPPORTED;
  rm_event *event = rm_object_new(RM_EVENT);
  if (!event) return CUDA_ERROR_OUT_OF_MEMORY;
  rm_progress_new(&event->progress);
  event->context = context;
  event->flags = flags;
  status = post_create(event);
  if (status)
    rm_object_free(event);
  else
    *out = (CUevent)event;
  return status;
}

CUresult rm_cuEventDestroy(CUevent handle) {
  rm_event *event;
  rm_call call;
  CUresult status = event_for(handle, &event);
  if (!status)
    status =
        rm_call_begin_on(&call, event->context, RM_CALL_event_destroy, sizeof(rm_q_event_destroy));
  if (status) return status;
  ((rm_q_event_destroy *)call.body)->event = event->object.id;
  rm_call_post(&call);
  event->progress.generation = 0;
  rm_object_free(event);
  return CUDA_SUCCESS;
}

/* Between begin and post: the event stands where the stream's work stands now. */
static void place(rm_event *event, const rm_target *target) {
  rm_tls.touched = target->progress;
  rm_progress_stamp();
  event->stream = target->progress;
  event->stream_generation = target->progress->generation;
  __atomic_store_n(&event->progress.work, rm_progress_now(), __ATOMIC_RELEASE);
}

CUresult rm_cuEventRecordWithFlags(CUevent handle, CUstream stream, unsigned int flags) {
  rm_event *event;
  rm_target target;
  rm_call call;
  CUresult status = event_for(handle, &event);
  if (!status) status = rm_target_of(stream, &target);
  if (!status && flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL) status = CUDA_ERROR_INVALID_VALUE;
  if (!status)
    status =
        rm_call_begin_on(&call, target.context, RM_CALL_event_record, sizeof(rm_q_event_record));
  if (status) return status;
  place(event, &target);
  *(rm_q_event_record *)call.body =
      (rm_q_event_record){.event = event->object.id, .stream = target.id, .flags = flags};
  return rm_call_post(&call);
}

CUresult rm_cuEventRecord(CUevent event, CUstream stream) {
  return rm_cuEventRecordWithFlags(event, stream, 0);
}

/* The stream it was recorded in, if that still exists. */
static rm_progress *stream_of(const rm_event *event) {
  return event->stream && event->stream->generation == event->stream_generation ? event->stream
                                                                                : NULL;
}

/* What kernels before the record wrote to shared memory. */
static CUresult fetch(const rm_event *event, uint64_t recorded) {
  rm_progress *stream = stream_of(event);
  return stream ? rm_shared_synced(event->context, stream, recorded) : CUDA_SUCCESS;
}

CUresult rm_cuEventQuery(CUevent handle) {
  rm_event *event;
  CUresult status = event_for(handle, &event);
  if (status) return status;
  rm_progress *stream = stream_of(event);
  uint64_t done = stream ? __atomic_load_n(&stream->done, __ATOMIC_ACQUIRE) : 0;
  if (event->progress.work <= done) rm_progress_learned(&event->progress, done);
  status = rm_query(event->context, &event->progress, 0, event->object.id);
  return status ? status : fetch(event, event->progress.work);
}

CUresult rm_cuEventSynchronize(CUevent handle) {
  rm_event *event;
  rm_call call;
  CUresult status = event_for(handle, &event);
  if (!status && !event->progress.work) return CUDA_SUCCESS; /* never recorded */
  if (!status)
    status = rm_call_begin_on(&call, event->context, RM_CALL_event_sync, sizeof(rm_q_event_sync));
  if (status) return status;
  ((rm_q_event_sync *)call.body)->event = event->object.id;
  uint64_t recorded = event->progress.work;
  status = rm_call_wait(&call, NULL, 0);
  if (status) return status;
  rm_progress_learned(&event->progress, recorded);
  if (stream_of(event)) rm_progress_learned(event->stream, recorded);
  return fetch(event, recorded);
}
