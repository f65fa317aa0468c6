/* thread.h: what a calling thread has: an id on the wire, its context stack, its pending reply.
 *
 * Must not know: what any call means. */
#ifndef REMORA_SHIM_THREAD_H
#define REMORA_SHIM_THREAD_H

#include "objects.h"
#include "../../transport/channel.h"

/* The one reply a thread can be waiting for. The reader claims it (ARMED -> FILLING) before it
 * touches the thread's buffers, the waiter takes it back (ARMED -> IDLE) before it gives up. */
enum rm_reply_state { RM_REPLY_IDLE, RM_REPLY_ARMED, RM_REPLY_FILLING, RM_REPLY_HERE };

typedef struct rm_reply_slot {
  uint32_t state;
  uint32_t seq;
  rm_waiter waiter;
  int32_t status;
  void *answer; /* the answer struct, answer_bytes exactly */
  uint32_t answer_bytes;
  void *extra; /* what follows: into here up to extra_capacity, or allocated if allocate */
  uint32_t extra_capacity, extra_bytes;
  bool allocate;
} rm_reply_slot;

struct rm_thread {
  uint16_t id; /* 1..65535 */
  bool told;   /* the engine has seen this id, and must hear when the thread ends */
  bool in_callback;
  rm_context **stack; /* contexts pushed; the last one is current */
  uint32_t depth, capacity;
  rm_reply_slot reply;
  rm_progress stream;         /* of this thread's default stream ... */
  rm_context *stream_context; /* ... in this context */
  rm_thread *next_free;
};

/* This thread's record, made on first use; NULL: out of memory or of ids. */
rm_thread *rm_thread_self(void);
/* The thread with this id, NULL if there never was one. For the reader. */
rm_thread *rm_thread_at(uint16_t id);

/* Whether this thread runs a host function, which may make no calls and must not wait. */
bool rm_in_callback(void);

/* The current context, NULL if none. */
rm_context *rm_context_current(void);

#endif
