/* callback.c: the two threads that serve the engine's requests. They start with the first one. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "callback.h"
#include "copy.h"
#include "pending.h"
#include "session.h"
#include "stats.h"
#include "thread.h"

typedef union request {
  rm_callback callback;
  rm_pull pull;
} request;

typedef struct item {
  struct item *next;
  request what;
} item;

typedef struct queue {
  item *first, **last;
  bool running;
  pthread_mutex_t lock;
  pthread_cond_t filled;
  void (*serve)(const request *what);
} queue;

/* ---- host functions */

static void run_function(const rm_pending *slot, int32_t status) {
  if (slot->stream_function)
    slot->stream_function(slot->stream, (CUresult)status, slot->user);
  else if (!status) /* cuLaunchHostFunc: not called after a failure */
    slot->function(slot->user);
}

static void serve_callback(const request *what) {
  rm_pending *slot = rm_pending_find(what->callback.token, RM_PENDING_FUNCTION);
  rm_thread *thread = rm_thread_self();
  if (!slot || !thread) {
    rm_session_break("a host function that cannot be called");
    return;
  }
  thread->in_callback = true;
  rm_stats_add(&rm_stats()->callbacks, 1);
  run_function(slot, what->callback.status);
  rm_pending_end(slot, CUDA_SUCCESS);
  rm_callback_done done = {.kind = RM_URGENT_CALLBACK_DONE, .token = what->callback.token};
  rm_channel_urgent(rm_session.channel, &done, sizeof done);
}

/* ---- pulls: the bytes [offset, offset + size) of a pinned copy, packed */

static pthread_mutex_t gathering = PTHREAD_MUTEX_INITIALIZER;

/* false: the session has ended, and the memory may be gone. */
static bool gather(const rm_rows *rows, const rm_pull *pull, char *bytes) {
  pthread_mutex_lock(&gathering);
  bool there = rm_attached();
  if (there) rm_rows_gather(rows, pull->offset, bytes, pull->size);
  pthread_mutex_unlock(&gathering);
  return there;
}

void rm_pulls_end(void) {
  pthread_mutex_lock(&gathering);
  pthread_mutex_unlock(&gathering);
}

static void send_packed(const rm_rows *rows, const rm_pull *pull) {
  char *bytes = malloc(pull->size);
  if (!bytes) {
    rm_session_break("out of memory for a copy from host memory");
    return;
  }
  if (gather(rows, pull, bytes)) rm_bulk(rm_session.channel, pull->tag, bytes, pull->size);
  free(bytes);
}

static bool is_within(const rm_pull *pull, size_t whole) {
  return pull->tag && pull->size <= RM_BULK_MAX && pull->offset <= whole &&
         pull->size <= whole - pull->offset;
}

static void serve_pull(const request *what) {
  const rm_pull *pull = &what->pull;
  rm_pending *slot = rm_pending_find(pull->token, RM_PENDING_PULL);
  const rm_rows *rows = slot ? &slot->host : NULL;
  size_t whole = rows ? rows->width * rows->rows : 0;
  if (!rows || !is_within(pull, whole)) {
    rm_session_break("a request for bytes that no copy has");
    return;
  }
  rm_stats_add(&rm_stats()->pulls, 1);
  if (rows->rows == 1 || rows->pitch == rows->width)
    rm_bulk(rm_session.channel, pull->tag, rows->base + pull->offset, pull->size);
  else
    send_packed(rows, pull);
  slot->moved += pull->size;
  if (slot->moved >= whole) rm_pending_end(slot, CUDA_SUCCESS);
}

/* ---- the queues */

static queue callbacks = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .serve = serve_callback};
static queue pulls = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .serve = serve_pull};

static item *next_item(queue *q) {
  pthread_mutex_lock(&q->lock);
  while (!q->first) pthread_cond_wait(&q->filled, &q->lock);
  item *i = q->first;
  q->first = i->next;
  if (!q->first) q->last = &q->first;
  pthread_mutex_unlock(&q->lock);
  return i;
}

static void *serve_for_ever(void *arg) {
  queue *q = arg;
  for (;;) {
    item *i = next_item(q);
    if (rm_attached()) q->serve(&i->what);
    free(i);
  }
  return NULL;
}

/* Signals are the program's own threads' business. */
static bool start(queue *q) {
  sigset_t all, before;
  pthread_t thread;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int error = pthread_create(&thread, NULL, serve_for_ever, q);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!error) pthread_detach(thread);
  return !error;
}

static void enqueue(queue *q, request what) {
  item *i = malloc(sizeof *i);
  if (!i) {
    rm_session_break("out of memory"); /* a dropped one would hang the stream */
    return;
  }
  *i = (item){.what = what};
  pthread_mutex_lock(&q->lock);
  if (!q->last) q->last = &q->first;
  *q->last = i;
  q->last = &i->next;
  if (!q->running) q->running = start(q);
  pthread_cond_signal(&q->filled);
  pthread_mutex_unlock(&q->lock);
}

void rm_callback_enqueue(const rm_callback *r) { enqueue(&callbacks, (request){.callback = *r}); }

void rm_pull_enqueue(const rm_pull *r) { enqueue(&pulls, (request){.pull = *r}); }
