/* progress.h: knowing, without asking, whether a stream's or an event's work is complete.
 *
 * One clock stamps work as it enters the ring (the ring's lock orders it), so "everything up to
 * stamp T" has one meaning for all streams. A wait that returns teaches what is done; a query
 * posts at most one mark for new work and is answered locally until the mark comes back.
 * Must not know: pending slots. */
#ifndef REMORA_SHIM_PROGRESS_H
#define REMORA_SHIM_PROGRESS_H

#include "objects.h"

/* Where a stream handle leads. */
typedef struct rm_target {
  uint64_t id; /* on the wire */
  rm_progress *progress;
  rm_context *context;
  bool done; /* of a copy: the program takes it as done when the call returns */
} rm_target;

/* Resolves NULL, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD too. */
CUresult rm_target_of(CUstream stream, rm_target *target);

/* Between begin and post/wait: the next stamp goes to the stream that the call touches. */
void rm_progress_stamp(void);
/* Between begin and post/wait: the stamp that everything before this call has at most. */
uint64_t rm_progress_now(void);

/* A unique generation for a new object. */
void rm_progress_new(rm_progress *progress);
/* *counter = max(*counter, stamp). */
void rm_progress_reached(uint64_t *counter, uint64_t stamp);
bool rm_progress_complete(const rm_progress *progress, const rm_context *context);

#endif
