/* pending.h: what the engine will come back to: copies out, pulls, host functions, marks.
 *
 * Each has a slot and a token that names it on the wire (generation << 32 | slot, never 0); the low
 * half is the tag of a copy's bulk messages. Freed slots get a new generation, so a late or forged
 * token finds nothing.
 * Must not know: the stubs. */
#ifndef REMORA_SHIM_PENDING_H
#define REMORA_SHIM_PENDING_H

#include "objects.h"
#include "../../transport/channel.h"

enum rm_pending_kind {
  RM_PENDING_FREE,
  RM_PENDING_COPY_OUT, /* device-to-host bytes will arrive */
  RM_PENDING_PULL,     /* the engine will ask for a pinned copy's bytes */
  RM_PENDING_FUNCTION, /* the engine will ask to run a host function */
  RM_PENDING_MARK,     /* the engine will tell when work is complete */
};

/* A rectangle of host memory: rows of width bytes, pitch apart. */
typedef struct rm_rows {
  char *base;
  size_t pitch, width, rows;
} rm_rows;

/* How a copy out ended, for the one who waits. */
typedef struct rm_outcome {
  rm_waiter waiter;
  int32_t status; /* CUresult */
} rm_outcome;

typedef struct rm_pending {
  enum rm_pending_kind kind;
  uint32_t generation;
  uint32_t next_free;
  rm_rows host;          /* copies */
  size_t moved;          /* bytes of them that have arrived or left */
  size_t coming;         /* of a copy out: those that are on their way or have arrived */
  char *staging;         /* where bytes of a pitched copy out land first */
  rm_outcome *outcome;   /* of a copy out: who waits for its end, if someone does */
  rm_progress *progress; /* marks */
  uint64_t progress_work;
  uint32_t progress_generation;
  CUhostFn function; /* host functions */
  CUstreamCallback stream_function;
  void *user;
  CUstream stream;
} rm_pending;

/* A slot that holds what is given (its kind and what that needs) and its token. Waits for one to
 * come free, but for a mark or in a host function: then NULL. NULL too when the session has ended.
 * An outcome must stay where it is until rm_pending_wait returns. */
rm_pending *rm_pending_new(const rm_pending *what, uint64_t *token);
/* The slot that a token names, NULL if it is gone. */
rm_pending *rm_pending_find(uint64_t token, enum rm_pending_kind kind);
/* Ends it: tells the waiter, frees the slot. */
void rm_pending_end(rm_pending *slot, int32_t status);
/* Waits until the copy out that token names has ended. Its status, or the session's failure. */
CUresult rm_pending_wait(uint64_t token, rm_outcome *outcome);

/* Whether a copy from this pinned memory must be pulled in stream order: a host function or an
 * overlapping copy out is outstanding. */
bool rm_pending_hazard(const rm_rows *from);
/* Waits until no copy is under way to or from these bytes (they are about to go away). */
CUresult rm_pending_drain(const void *base, size_t bytes);

/* The channel's events (rm_events), on the reading thread. */
void *rm_pending_bulk(void *user, uint32_t tag, size_t n);
void rm_pending_bulk_done(void *user, uint32_t tag, void *where, size_t n);
void rm_pending_done(const rm_done *done);

#endif
