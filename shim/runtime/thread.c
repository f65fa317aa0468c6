/* thread.c: threads get an id when they first need one, and give it back when they end. */
#include <pthread.h>
#include <stdlib.h>

#include "session.h"
#include "thread.h"
#include "../generated/records.h"

#define THREADS_MAX 65536

__thread struct rm_tls rm_tls;

static rm_thread *threads[THREADS_MAX]; /* never shrinks: a late reply finds a thread, not a hole */
static uint32_t threads_made;
static rm_thread *threads_free;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void tell_gone(rm_thread *thread) {
  rm_record *record = rm_begin(rm_session.channel, sizeof *record);
  if (!record) return;
  record->op = RM_CALL_thread_gone;
  record->thread = thread->id;
  rm_commit(rm_session.channel);
}

static void thread_ended(void *value) {
  rm_thread *thread = value;
  rm_tls.thread = NULL;
  if (rm_session_state == RM_FORKED) return;
  if (thread->told && rm_attached()) tell_gone(thread);
  free(thread->stack);
  pthread_mutex_lock(&lock);
  *thread = (rm_thread){.id = thread->id, .next_free = threads_free};
  threads_free = thread;
  pthread_mutex_unlock(&lock);
}

static void make_key(void) { pthread_key_create(&key, thread_ended); }

static rm_thread *take(void) {
  rm_thread *thread = threads_free;
  if (thread) {
    threads_free = thread->next_free;
    return thread;
  }
  if (threads_made == THREADS_MAX - 1) return NULL;
  thread = calloc(1, sizeof *thread);
  if (!thread) return NULL;
  thread->id = (uint16_t)++threads_made;
  __atomic_store_n(&threads[thread->id], thread, __ATOMIC_RELEASE);
  return thread;
}

static rm_thread *thread_new(void) {
  if (rm_session_state == RM_FORKED)
    return NULL; /* the lock may have been held by a thread that is not here */
  pthread_once(&once, make_key);
  pthread_mutex_lock(&lock);
  rm_thread *thread = take();
  pthread_mutex_unlock(&lock);
  if (thread) pthread_setspecific(key, thread);
  return rm_tls.thread = thread;
}

rm_thread *rm_thread_self(void) { return rm_tls.thread ? rm_tls.thread : thread_new(); }

rm_thread *rm_thread_at(uint16_t id) { return __atomic_load_n(&threads[id], __ATOMIC_ACQUIRE); }

bool rm_in_callback(void) { return rm_tls.thread && rm_tls.thread->in_callback; }

rm_context *rm_context_current(void) {
  rm_thread *thread = rm_tls.thread;
  return thread && thread->depth ? thread->stack[thread->depth - 1] : NULL;
}
