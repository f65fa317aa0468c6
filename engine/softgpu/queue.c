/* The queues behind streams: submission, order against the default stream, execution, waiting.
   Locks: context->lock, then queue->lock; neither is held while a command runs. */
#include "queue.h"
#include "fault.h"
#include "thread.h"
#include <stdlib.h>
#include <string.h>

typedef struct wait_command {
  sg_command head;
  sg_queue *other;
  uint64_t place;
} wait_command;

static bool idle(const sg_queue *q) { return q->done == q->submitted; }

static _Atomic uint64_t ids = 1;
static _Atomic uint64_t unfinished; /* commands of all queues */

bool sg_queues_rest(void) { return unfinished == 0; }

sg_queue *sg_queue_new(sg_context *context, unsigned flags, int priority) {
  sg_queue *q = calloc(1, sizeof *q);
  if (!q) return NULL;
  q->references = 1;
  q->context = context;
  q->id = ids++;
  q->flags = flags;
  q->priority = priority;
  q->ordered_with_legacy = !(flags & CU_STREAM_NON_BLOCKING);
  pthread_mutex_init(&q->lock, NULL);
  pthread_cond_init(&q->work, NULL);
  pthread_cond_init(&q->moved, NULL);
  pthread_mutex_lock(&context->lock);
  q->next = context->queues;
  context->queues = q;
  pthread_mutex_unlock(&context->lock);
  return q;
}

sg_queue *sg_queue_hold(sg_queue *q) {
  q->references++;
  return q;
}

void sg_queue_drop(sg_queue *q) {
  if (!q || --q->references) return;
  pthread_mutex_destroy(&q->lock);
  pthread_cond_destroy(&q->work);
  pthread_cond_destroy(&q->moved);
  free(q);
}

/* ---- execution */

static sg_command *pop(sg_queue *q, bool own_thread) {
  sg_command *c = q->first;
  if (!c || (!own_thread && (c->flags & SG_OWN_THREAD))) return NULL;
  q->first = c->next;
  if (!q->first) q->last = NULL;
  return c;
}

static void advance(sg_queue *q) {
  q->done++;
  unfinished--;
  if (!q->waiters) return;
  pthread_mutex_lock(&q->lock);
  pthread_cond_broadcast(&q->moved);
  pthread_mutex_unlock(&q->lock);
}

static void execute(sg_queue *q, sg_command *c) {
  if (!q->context->sticky || (c->flags & SG_ALWAYS)) {
    CUresult r = c->run(c);
    if (r != CUDA_SUCCESS) sg_context_break(q->context, r);
  }
  if (c->end) c->end(c);
  free(c);
  advance(q);
}

/* Runs what is queued, up to `place`. Called and left with the lock held and nobody running. */
static void run_queue(sg_queue *q, bool own_thread, uint64_t place) {
  sg_command *c;
  q->running = true;
  while (q->done < place && (c = pop(q, own_thread))) {
    pthread_mutex_unlock(&q->lock);
    execute(q, c);
    pthread_mutex_lock(&q->lock);
  }
  q->running = false;
}

static void *queue_thread(void *argument) {
  sg_queue *q = argument;
  sg_fault_prepare_thread();
  pthread_mutex_lock(&q->lock);
  while (!q->stopping || q->first || q->running) {
    if (q->first && !q->running)
      run_queue(q, true, UINT64_MAX);
    else
      pthread_cond_wait(&q->work, &q->lock);
  }
  pthread_mutex_unlock(&q->lock);
  sg_queue_drop(q);
  return NULL;
}

static bool start_thread(sg_queue *q) {
  sg_queue_hold(q);
  q->has_thread = sg_thread_start(queue_thread, q);
  if (!q->has_thread) sg_queue_drop(q);
  return q->has_thread;
}

/* Lock held. Whether the queue's thread is to be told that there is work, best without the lock: it
 * takes it first of all. Where no thread can be had, the caller's runs the commands at once. */
static bool to_wake(sg_queue *q) {
  if (q->running || !q->first) return q->stopping && q->has_thread;
  bool threaded = q->has_thread || start_thread(q);
  if (!threaded) run_queue(q, true, UINT64_MAX);
  return threaded;
}

/* Lock held. */
static void wake(sg_queue *q) {
  if (to_wake(q)) pthread_cond_signal(&q->work);
}

/* Runs what is queued up to `place` unless somebody does. Consumes a reference. */
static void run_here(sg_queue *q, uint64_t place) {
  pthread_mutex_lock(&q->lock);
  if (!q->running) run_queue(q, false, place);
  wake(q);
  pthread_mutex_unlock(&q->lock);
  sg_queue_drop(q);
}

/* ---- submission */

/* The queue is the caller's, or its context's lock is held: it stays until this returns. */
static uint64_t push(sg_queue *q, sg_command *c, bool wake_up) {
  pthread_mutex_lock(&q->lock);
  c->queue = q;
  c->next = NULL;
  if (q->last)
    q->last->next = c;
  else
    q->first = c;
  q->last = c;
  unfinished++;
  uint64_t place = ++q->submitted;
  bool tell = wake_up && to_wake(q);
  pthread_mutex_unlock(&q->lock);
  if (tell) pthread_cond_signal(&q->work);
  return place;
}

static CUresult run_wait(sg_command *command) {
  wait_command *w = (wait_command *)command;
  sg_queue_wait(w->other, w->place);
  return CUDA_SUCCESS;
}

static void end_wait(sg_command *command) { sg_queue_drop(((wait_command *)command)->other); }

static wait_command *new_wait(sg_queue *other, uint64_t place) {
  wait_command *w = sg_command_new(sizeof *w, run_wait);
  if (!w) return NULL;
  w->head.flags = SG_ALWAYS;
  w->head.end = end_wait;
  w->other = sg_queue_hold(other);
  w->place = place;
  return w;
}

/* CUDA's rule for the legacy default stream: its work waits for all earlier work of the blocking
   streams, and their later work waits for it. Context lock held. */
static void order_with_legacy(sg_queue *q) {
  sg_queue *legacy = q->context->legacy;
  if (q == legacy) {
    for (sg_queue *s = q->context->queues; s; s = s->next) {
      if (s == q || !s->ordered_with_legacy || idle(s)) continue;
      wait_command *w = new_wait(s, s->submitted);
      if (w) push(q, &w->head, false);
    }
  } else if (q->ordered_with_legacy && legacy && !idle(legacy) &&
             q->legacy_seen < legacy->submitted) {
    wait_command *w = new_wait(legacy, legacy->submitted);
    q->legacy_seen = legacy->submitted;
    if (w) push(q, &w->head, false);
  }
}

static uint64_t submit(sg_queue *q, sg_command *c, bool wake_up) {
  pthread_mutex_lock(&q->context->lock);
  order_with_legacy(q);
  bool at_once = wake_up && (c->flags & SG_QUICK) && idle(q);
  if (at_once) sg_queue_hold(q);
  uint64_t place = push(q, c, wake_up && !at_once);
  pthread_mutex_unlock(&q->context->lock);
  if (at_once) run_here(q, place);
  return place;
}

void *sg_command_new(size_t bytes, CUresult (*run)(sg_command *)) {
  sg_command *c = calloc(1, bytes);
  if (c) c->run = run;
  return c;
}

uint64_t sg_queue_post(sg_queue *q, sg_command *c) { return submit(q, c, true); }

CUresult sg_queue_run(sg_queue *q, sg_command *c) {
  sg_queue_wait(q, submit(q, c, false));
  return sg_context_state(q->context);
}

CUresult sg_queue_post_wait(sg_queue *q, sg_queue *other, uint64_t place) {
  if (q == other || sg_queue_reached(other, place)) return CUDA_SUCCESS;
  wait_command *w = new_wait(other, place);
  if (!w) return CUDA_ERROR_OUT_OF_MEMORY;
  sg_queue_post(q, &w->head);
  return CUDA_SUCCESS;
}

/* ---- waiting */

static void sleep_until(sg_queue *q, uint64_t place) {
  q->waiters++;
  while (q->done < place) {
    if (!q->running && q->first) wake(q);
    pthread_cond_wait(&q->moved, &q->lock);
  }
  q->waiters--;
}

void sg_queue_wait(sg_queue *q, uint64_t place) {
  if (q->done >= place) return;
  pthread_mutex_lock(&q->lock);
  if (!q->running) run_queue(q, false, place);
  if (q->done < place) sleep_until(q, place);
  wake(q);
  pthread_mutex_unlock(&q->lock);
}

void sg_queue_drain(sg_queue *q) { sg_queue_wait(q, q->submitted); }

/* The first queue made after the one with this id: queues come and go while a context drains. */
static sg_queue *hold_next(sg_context *context, uint64_t id) {
  sg_queue *next = NULL;
  pthread_mutex_lock(&context->lock);
  for (sg_queue *q = context->queues; q; q = q->next)
    if (q->id > id && (!next || q->id < next->id)) next = q;
  if (next) sg_queue_hold(next);
  pthread_mutex_unlock(&context->lock);
  return next;
}

void sg_context_drain(sg_context *context, bool ordered_only) {
  sg_queue *q;
  uint64_t id = 0, end = ids;
  while (id < end && (q = hold_next(context, id))) {
    id = q->id;
    if (id < end && (q->ordered_with_legacy || !ordered_only)) sg_queue_drain(q);
    sg_queue_drop(q);
  }
}

bool sg_context_idle(sg_context *context) {
  bool all = true;
  pthread_mutex_lock(&context->lock);
  for (sg_queue *q = context->queues; q && all; q = q->next)
    all = !q->ordered_with_legacy || idle(q);
  pthread_mutex_unlock(&context->lock);
  return all;
}

static void unlink_queue(sg_queue *q) {
  pthread_mutex_lock(&q->context->lock);
  for (sg_queue **at = &q->context->queues; *at; at = &(*at)->next)
    if (*at == q) {
      *at = q->next;
      break;
    }
  pthread_mutex_unlock(&q->context->lock);
}

void sg_queue_close(sg_queue *q) {
  pthread_mutex_lock(&q->lock);
  q->stopping = true;
  wake(q);
  pthread_mutex_unlock(&q->lock);
  unlink_queue(q);
  sg_queue_drop(q);
}
