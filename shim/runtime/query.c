/* query.c: the life of a mark: posted by the first query after new work, answered by RM_OP_DONE. */
#include "pending.h"
#include "progress.h"
#include "query.h"
#include "session.h"
#include "stats.h"
#include "../generated/records.h"

void rm_progress_learned(rm_progress *progress, uint64_t stamp) {
  if (__atomic_load_n(&progress->work, __ATOMIC_RELAXED) == UINT64_MAX)
    __atomic_store_n(&progress->work, stamp, __ATOMIC_RELAXED); /* nothing was known before */
  rm_progress_reached(&progress->done, stamp);
}

/* A mark covers what is in the ring before it. */
static CUresult post_mark(rm_context *context, rm_progress *progress, uint64_t stream_id,
                          uint64_t event_id) {
  uint64_t token;
  rm_pending *slot = rm_pending_new(&(rm_pending){.kind = RM_PENDING_MARK}, &token);
  if (!slot) return CUDA_SUCCESS; /* too much is outstanding: a later query will try again */
  rm_call call;
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_mark, sizeof(rm_q_mark));
  if (status) {
    rm_pending_end(slot, status);
    return status;
  }
  uint64_t work = __atomic_load_n(&progress->work, __ATOMIC_RELAXED);
  if (work == UINT64_MAX)
    __atomic_store_n(&progress->work, work = rm_progress_now(), __ATOMIC_RELAXED);
  slot->progress = progress;
  slot->progress_work = work;
  slot->progress_generation = progress->generation;
  __atomic_store_n(&progress->mark, work, __ATOMIC_RELAXED);
  *(rm_q_mark *)call.body = (rm_q_mark){.stream = stream_id, .event = event_id, .token = token};
  return rm_call_post(&call);
}

CUresult rm_query(rm_context *context, rm_progress *progress, uint64_t stream_id,
                  uint64_t event_id) {
  CUresult status = CUDA_SUCCESS;
  if (context->sticky) return (CUresult)context->sticky;
  if (rm_progress_complete(progress, context)) {
    rm_stats_add(&rm_stats()->local_queries, 1);
    return CUDA_SUCCESS;
  }
  uint64_t work = __atomic_load_n(&progress->work, __ATOMIC_RELAXED);
  if (__atomic_load_n(&progress->mark, __ATOMIC_RELAXED) < work)
    status = post_mark(context, progress, stream_id, event_id);
  else
    rm_stats_add(&rm_stats()->local_queries, 1);
  if (status) return status;
  rm_poll(rm_session.channel);
  int32_t told = __atomic_exchange_n(&progress->status, 0, __ATOMIC_ACQ_REL);
  if (told) return rm_note_status(context, told);
  return rm_progress_complete(progress, context) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
