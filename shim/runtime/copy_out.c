/* copy_out.c: device to host: one record; the bytes come as bulk messages, then RM_OP_DONE. */
#include <stdlib.h>

#include "copy.h"
#include "query.h"
#include "session.h"
#include "stats.h"
#include "../generated/records.h"

#define PROGRAM_WAITS 1u

static rm_pending *new_slot(const rm_rows *to, uint64_t *token, rm_outcome *outcome) {
  rm_pending what = {.kind = RM_PENDING_COPY_OUT, .host = *to, .outcome = outcome};
  if (to->rows > 1 && to->pitch != to->width && !(what.staging = malloc(to->width * to->rows)))
    return NULL;
  rm_pending *slot = rm_pending_new(&what, token);
  if (!slot) free(what.staging);
  return slot;
}

/* Posts the record; *stamp says where in the stream's work it stands. */
static CUresult post(const rm_target *stream, const rm_rows *to, const rm_side *from,
                     uint64_t token, bool waits, uint64_t *stamp) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, stream->context, RM_CALL_copy_out, sizeof(rm_q_copy_out));
  if (status) return status;
  rm_tls.touched = stream->progress;
  rm_progress_stamp();
  *stamp = rm_progress_now();
  *(rm_q_copy_out *)call.body = (rm_q_copy_out){.stream = stream->id,
                                                .src = from->base,
                                                .pitch = from->pitch,
                                                .width = to->width,
                                                .rows = to->rows,
                                                .token = token,
                                                .flags = waits ? PROGRAM_WAITS : 0};
  return waits ? rm_call_post_unsent(&call) : rm_call_post(&call);
}

static CUresult wait(const rm_target *stream, uint64_t token, rm_outcome *outcome, uint64_t stamp) {
  uint64_t start = rm_now_ns();
  CUresult status = rm_pending_wait(token, outcome);
  rm_stats_waited(rm_now_ns() - start);
  if (status) return rm_note_status(stream->context, status);
  rm_progress_learned(stream->progress, stamp);
  return CUDA_SUCCESS;
}

CUresult rm_copy_out(const rm_target *stream, const rm_rows *to, const rm_side *from, bool sync) {
  bool waits = sync || !rm_rows_pinned(to);
  rm_outcome outcome = {0};
  uint64_t token, stamp;
  rm_stats_add(&rm_stats()->copied_out, to->width * to->rows);
  rm_pending *slot = new_slot(to, &token, waits ? &outcome : NULL);
  if (!slot) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult status = post(stream, to, from, token, waits, &stamp);
  if (status) {
    rm_pending_end(slot, status);
    return status;
  }
  return waits ? wait(stream, token, &outcome, stamp) : CUDA_SUCCESS;
}
