/* session.c: the session's state and its ends: failure, exit, fork. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "attach.h"
#include "callback.h"
#include "pending.h"
#include "session.h"
#include "stats.h"
#include "thread.h"

/* What was posted may still leave; a dead peer must not hold up an exit. */
#define EXIT_DRAIN_MS 200

rm_session_facts rm_session;
int rm_session_state = RM_NEW;

static bool initialised; /* cuInit has succeeded */
static CUresult attach_failure;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void set_state(enum rm_state state) {
  __atomic_store_n(&rm_session_state, state, __ATOMIC_RELEASE);
}

void rm_say(const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  if (n > 0)
    dprintf(STDERR_FILENO, "remora: %s%s%s\n", rm_session.host, *rm_session.host ? ": " : "", line);
}

/* ---- ends */

/* The state changes last: an exit under way waits for the line. */
static void on_end(void *user, int error, const char *why) {
  (void)user, (void)error;
  int attached = RM_ATTACHED;
  if (!rm_attached()) return; /* at exit, or it never began */
  rm_stats_header *stats = rm_stats();
  stats->state = 2;
  snprintf(stats->why, sizeof stats->why, "%s", why ? why : "");
  dprintf(STDERR_FILENO, "remora: %s; CUDA calls fail from now on, start the program again\n",
          why ? why : rm_session.host);
  __atomic_compare_exchange_n(&rm_session_state, &attached, RM_ENDED, false, __ATOMIC_ACQ_REL,
                              __ATOMIC_RELAXED);
}

/* There is no channel yet when a server speaks before it was asked anything. */
void rm_session_break(const char *why) {
  if (rm_session.channel) rm_channel_end(rm_session.channel, why);
}

/* A program that ends because its calls fail ends before it was said why. */
static void let_end_be_told(void) {
  if (rm_channel_error(rm_session.channel, NULL))
    rm_channel_quiet(rm_session.channel, EXIT_DRAIN_MS);
}

/* For who asks whether copies were as direct as the transport can have them. */
static void tell_traffic(void) {
  const char *log = getenv("REMORA_LOG");
  rm_traffic t;
  if (!log || !*log) return;
  rm_channel_stats(rm_session.channel, &t);
  if (t.bulk_direct || t.bulk_copied)
    rm_say("bulk data: %llu bytes in place, %llu copied", (unsigned long long)t.bulk_direct,
           (unsigned long long)t.bulk_copied);
}

/* What runs after this may free what the program had given to copies. */
static void at_exit(void) {
  if (rm_session_state == RM_FORKED) return;
  if (rm_attached()) let_end_be_told();
  if (rm_attached()) {
    tell_traffic();
    set_state(RM_EXITING);
    rm_channel_close(rm_session.channel, EXIT_DRAIN_MS);
  }
  rm_pulls_end();
}

/* A fork waits while another thread attaches, so that the child finds a whole session or none. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void in_parent(void) { pthread_mutex_unlock(&lock); }

/* The child has the memory of a session that belongs to its parent. It forgets it. */
static void in_child(void) {
  pthread_mutex_init(&lock, NULL);
  if (rm_session_state == RM_NEW || rm_session_state == RM_FAILED) return;
  set_state(RM_FORKED);
  rm_stats_forked();
  if (rm_session.channel) rm_channel_abandon(rm_session.channel);
}

/* ---- attaching */

static const rm_events events = {
    .on_record = rm_call_on_record,
    .on_bulk = rm_pending_bulk,
    .on_bulk_done = rm_pending_bulk_done,
    .on_end = on_end,
};

static void attach_now(void) {
  uint64_t start = rm_now_ns();
  attach_failure = rm_objects_reserve() ? rm_attach_to_server(&events) : CUDA_ERROR_OUT_OF_MEMORY;
  rm_stats()->attach_ns = rm_now_ns() - start;
  snprintf(rm_stats()->server, sizeof rm_stats()->server, "%.63s", rm_session.host);
  if (attach_failure) {
    set_state(RM_FAILED);
    return;
  }
  atexit(at_exit);
  rm_stats()->state = 1;
  set_state(RM_ATTACHED);
}

static void watch_forks(void) { pthread_atfork(before_fork, in_parent, in_child); }

CUresult rm_attach(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (rm_attached()) return CUDA_SUCCESS;
  if (rm_session_state == RM_FORKED) return CUDA_ERROR_NOT_INITIALIZED;
  pthread_once(&once, watch_forks);
  pthread_mutex_lock(&lock);
  if (rm_session_state == RM_NEW) attach_now();
  pthread_mutex_unlock(&lock);
  return rm_attached() ? CUDA_SUCCESS : rm_session_failure();
}

void rm_set_initialised(void) { __atomic_store_n(&initialised, true, __ATOMIC_RELEASE); }

/* Once a call has failed so the program may free what it had given to copies. ATTACHED: the channel
 * has failed, on_end is on its way. */
static void let_go_of_memory(int state) {
  if (state == RM_ATTACHED && rm_channel_error(rm_session.channel, NULL))
    rm_channel_quiet(rm_session.channel, -1);
  if (state == RM_EXITING) rm_channel_quiet(rm_session.channel, 2 * EXIT_DRAIN_MS);
  rm_pulls_end();
}

CUresult rm_session_failure(void) {
  int state = __atomic_load_n(&rm_session_state, __ATOMIC_ACQUIRE);
  if (state == RM_ATTACHED || state == RM_ENDED || state == RM_EXITING) let_go_of_memory(state);
  switch (state) {
  case RM_FAILED: return attach_failure;
  case RM_ATTACHED:
  case RM_ENDED: return CUDA_ERROR_OPERATING_SYSTEM;
  case RM_EXITING: return CUDA_ERROR_DEINITIALIZED;
  default: return CUDA_ERROR_NOT_INITIALIZED;
  }
}

CUresult rm_ready(void) {
  bool ready = __atomic_load_n(&initialised, __ATOMIC_ACQUIRE);
  if (__builtin_expect(rm_attached() && ready, 1)) return CUDA_SUCCESS;
  return rm_attached() ? CUDA_ERROR_NOT_INITIALIZED : rm_session_failure();
}

rm_device *rm_device_at(CUdevice device) {
  return (uint32_t)device < rm_session.device_count ? &rm_session.devices[device] : NULL;
}
