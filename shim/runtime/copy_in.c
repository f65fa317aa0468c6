/* copy_in.c: host to device: sent at once, or left for the engine to pull. */
#include <stdlib.h>
#include <string.h>

#include "copy.h"
#include "ranges.h"
#include "session.h"
#include "stats.h"
#include "../generated/records.h"

void rm_rows_gather(const rm_rows *rows, size_t from, char *bytes, size_t n) {
  while (n) {
    size_t column = from % rows->width;
    size_t run = rows->width - column < n ? rows->width - column : n;
    memcpy(bytes, rows->base + from / rows->width * rows->pitch + column, run);
    from += run, bytes += run, n -= run;
  }
}

bool rm_rows_pinned(const rm_rows *rows) {
  rm_range range;
  uint64_t base = (uint64_t)(uintptr_t)rows->base;
  uint64_t bytes = (rows->rows - 1) * rows->pitch + rows->width;
  return rm_range_find(base, &range) && rm_range_pinned(&range) &&
         base + bytes <= range.base + range.bytes;
}

static CUresult begin(rm_call *call, const rm_target *stream, uint16_t op, uint32_t payload) {
  CUresult status =
      rm_call_begin_on(call, stream->context, op, (uint32_t)sizeof(rm_q_copy_in) + payload);
  if (!status) rm_tls.touched = stream->progress;
  return status;
}

static rm_q_copy_in request(const rm_target *stream, const rm_side *to, const rm_rows *from) {
  return (rm_q_copy_in){.stream = stream->id,
                        .dst = to->base,
                        .pitch = to->pitch,
                        .width = from->width,
                        .rows = from->rows,
                        .token = stream->done};
}

/* ---- eager: pieces of at most RM_BULK_MAX bytes */

static CUresult send_inline(const rm_target *stream, const rm_side *to, const rm_rows *piece) {
  rm_call call;
  size_t n = piece->width * piece->rows;
  CUresult status = begin(&call, stream, RM_CALL_copy_in, (uint32_t)n);
  if (status) return status;
  rm_q_copy_in *q = call.body;
  *q = request(stream, to, piece);
  rm_rows_gather(piece, 0, (char *)(q + 1), n);
  return rm_call_post(&call);
}

static CUresult send_bulk(const rm_target *stream, const rm_side *to, const rm_rows *piece) {
  rm_call call;
  size_t n = piece->width * piece->rows;
  char *packed = NULL;
  if (piece->rows > 1 && piece->pitch != piece->width) {
    if (!(packed = malloc(n))) return CUDA_ERROR_OUT_OF_MEMORY;
    rm_rows_gather(piece, 0, packed, n);
  }
  CUresult status = begin(&call, stream, RM_CALL_copy_in, 0);
  if (!status) {
    *(rm_q_copy_in *)call.body = request(stream, to, piece);
    status = rm_call_post_bulk(&call, packed ? packed : piece->base, n);
  }
  free(packed);
  return status;
}

static CUresult send_piece(const rm_target *stream, const rm_side *to, const rm_rows *piece) {
  return piece->width * piece->rows <= RM_INLINE_MAX ? send_inline(stream, to, piece)
                                                     : send_bulk(stream, to, piece);
}

static CUresult send_line(const rm_target *stream, uint64_t to, char *from, size_t n) {
  CUresult status = CUDA_SUCCESS;
  while (n && !status) {
    size_t run = n < RM_BULK_MAX ? n : RM_BULK_MAX;
    rm_side at = {.base = to, .pitch = run, .device = true};
    rm_rows piece = {.base = from, .pitch = run, .width = run, .rows = 1};
    status = send_piece(stream, &at, &piece);
    to += run, from += run, n -= run;
  }
  return status;
}

static CUresult send_rows(const rm_target *stream, const rm_side *to, const rm_rows *from) {
  CUresult status = CUDA_SUCCESS;
  size_t at_once = RM_BULK_MAX / from->width;
  for (size_t row = 0; row < from->rows && !status;) {
    rm_side at = {.base = to->base + row * to->pitch, .pitch = to->pitch, .device = true};
    rm_rows piece = *from;
    piece.base += row * from->pitch;
    piece.rows = from->rows - row < at_once ? from->rows - row : at_once;
    if (!at_once) {
      piece.rows = 1;
      status = send_line(stream, at.base, piece.base, from->width);
    } else {
      status = send_piece(stream, &at, &piece);
    }
    row += piece.rows;
  }
  return status;
}

static CUresult eager(const rm_target *stream, const rm_side *to, const rm_rows *from) {
  bool packed = from->rows == 1 || (from->pitch == from->width && to->pitch == from->width);
  return packed ? send_line(stream, to->base, from->base, from->width * from->rows)
                : send_rows(stream, to, from);
}

/* ---- pulled: the engine asks for the bytes when the stream gets there */

static CUresult pulled(const rm_target *stream, const rm_side *to, const rm_rows *from, bool sync) {
  uint64_t token;
  rm_pending *slot = rm_pending_new(&(rm_pending){.kind = RM_PENDING_PULL, .host = *from}, &token);
  if (!slot) return CUDA_ERROR_OUT_OF_MEMORY;
  rm_call call;
  CUresult status = begin(&call, stream, RM_CALL_copy_in_pull, 0);
  if (status) {
    rm_pending_end(slot, status);
    return status;
  }
  rm_q_copy_in *q = call.body;
  *q = request(stream, to, from);
  q->token = token;
  rm_call_post(&call);
  size_t extent = (from->rows - 1) * from->pitch + from->width;
  return sync ? rm_pending_drain(from->base, extent) : CUDA_SUCCESS;
}

_Static_assert(sizeof(rm_q_copy_in) == sizeof(rm_q_copy_in_pull), "copy_in_pull is copy_in");

/* A copy that the program waits for is over once its memory may change. Memory that is not pinned
 * is consumed by then anyway; pinned memory may have been lent to the engine, which takes it from
 * there. */
CUresult rm_copy_in(const rm_target *stream, const rm_side *to, const rm_rows *from, bool sync) {
  rm_stats_add(&rm_stats()->copied_in, from->width * from->rows);
  bool pinned = rm_rows_pinned(from);
  if (pinned && rm_pending_hazard(from)) return pulled(stream, to, from, sync);
  rm_target target = *stream;
  target.done = sync;
  CUresult status = eager(&target, to, from);
  if (!status && (sync || !pinned) && rm_bulk_returned(rm_session.channel))
    return rm_session_failure();
  return status;
}
