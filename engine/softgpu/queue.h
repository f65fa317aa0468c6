/* A queue: the commands of one stream, run in order by one thread at a time. Usually that is the
   queue's own thread; a thread that waits for the queue runs the commands itself when nobody does,
   so that a synchronous call costs no thread switch, and a quick command on an idle queue is run by
   the thread that posts it. */
#ifndef SG_QUEUE_H
#define SG_QUEUE_H
#include "context.h"

#include "../../shim/runtime/stream_hints.h"

typedef struct sg_command {
  struct sg_command *next;
  CUresult (*run)(struct sg_command *command); /* a failure breaks the context */
  void (*end)(struct sg_command *command);     /* always called last; frees what run needed */
  unsigned flags;
  struct sg_queue *queue;
} sg_command;

/* Command flags. */
enum {
  SG_OWN_THREAD = 1, /* calls user code: only the queue's own thread may run it */
  SG_ALWAYS = 2,     /* runs on a broken context too */
  SG_QUICK = 4,      /* is done within about a hundred microseconds and waits for nothing */
};

/* Up to so many bytes a copy or a fill is quick. */
enum { SG_QUICK_BYTES = 1 << 20 };

typedef struct sg_queue {
  _Atomic int references;
  sg_context *context;
  uint64_t id;
  unsigned flags; /* CU_STREAM_NON_BLOCKING ... */
  int priority;
  CUstreamAttrValue hints[STREAM_HINTS]; /* kept for who asks: stream_attributes.c */
  bool ordered_with_legacy;
  struct sg_queue *next; /* in the context */
  _Atomic uint64_t submitted;
  uint64_t legacy_seen; /* last command of the default stream that this queue waits for */
  pthread_mutex_t lock;
  pthread_cond_t work, moved;
  sg_command *first, *last;
  bool running, stopping, has_thread;
  _Atomic uint64_t done; /* commands finished: the queue's timeline */
  _Atomic int waiters;
} sg_queue;

sg_queue *sg_queue_new(sg_context *context, unsigned flags, int priority);
sg_queue *sg_queue_hold(sg_queue *queue);
void sg_queue_drop(sg_queue *queue);
/* Leaves the context; what was submitted still runs. */
void sg_queue_close(sg_queue *queue);

/* A zeroed command of at least sizeof(sg_command) bytes, NULL when there is no memory. */
void *sg_command_new(size_t bytes, CUresult (*run)(sg_command *));
/* Posts a command, which now belongs to the queue; returns its place in the timeline. */
uint64_t sg_queue_post(sg_queue *queue, sg_command *command);
/* Posts it and waits until it has run. Returns the context's sticky error, if any. */
CUresult sg_queue_run(sg_queue *queue, sg_command *command);
/* Waits until the timeline has reached the place. */
void sg_queue_wait(sg_queue *queue, uint64_t place);
static inline bool sg_queue_reached(const sg_queue *queue, uint64_t place) {
  return queue->done >= place;
}
/* Everything submitted so far. */
void sg_queue_drain(sg_queue *queue);
/* Posts a wait for another queue's timeline. */
CUresult sg_queue_post_wait(sg_queue *queue, sg_queue *other, uint64_t place);
/* Waits for all queues of a context, or for those ordered with the default stream (which is what
   waiting for the default stream means). */
void sg_context_drain(sg_context *context, bool ordered_only);
/* Whether no queue of this process has anything left to do. */
bool sg_queues_rest(void);
/* Whether the queues ordered with the default stream have nothing left to do. */
bool sg_context_idle(sg_context *context);
#endif
