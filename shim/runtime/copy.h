/* copy.h: copying rectangles between this process's memory and the engine's.
 *
 * Rules: memory that is not pinned is consumed, or filled, before a call returns. Pinned memory of
 * an asynchronous copy to the device is read at once only if nothing outstanding could still
 * change it (no host function, no overlapping copy out); otherwise the engine asks for it when the
 * stream gets there. */
#ifndef REMORA_SHIM_COPY_H
#define REMORA_SHIM_COPY_H

#include "pending.h"
#include "progress.h"

#define RM_INLINE_MAX (32u << 10) /* larger payloads travel as bulk, straight from memory */

/* One side of a copy: rows start pitch bytes apart. */
typedef struct rm_side {
  uint64_t base;
  size_t pitch;
  bool device;
} rm_side;

/* Copies rows of width bytes. Sync: the data is there (host side) when it returns. */
CUresult rm_copy(const rm_target *stream, rm_side to, rm_side from, size_t width, size_t rows,
                 bool sync);

/* The two directions, called by rm_copy. */
CUresult rm_copy_in(const rm_target *stream, const rm_side *to, const rm_rows *from, bool sync);
CUresult rm_copy_out(const rm_target *stream, const rm_rows *to, const rm_side *from, bool sync);

/* Whether all the rows lie in memory that the program pinned. */
bool rm_rows_pinned(const rm_rows *rows);
/* n packed bytes of the rows, from packed offset `from` on. */
void rm_rows_gather(const rm_rows *rows, size_t from, char *bytes, size_t n);

#endif
