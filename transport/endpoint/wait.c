/* wait.c: waiting in an endpoint: whoever waits leads the channel's reading if no one else does, so
 * a message costs no hop between threads. Must not know: what is waited for. */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>

#include "inside.h"

uint64_t rm_ep_now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t rm_deadline_after(double seconds) {
  if (seconds < 0 || seconds > 1e9) return RM_NO_DEADLINE;
  return rm_ep_now_us() + (uint64_t)(seconds * 1e6);
}

/* As rm_wait takes it; rounded up, so that it does not wake just before the deadline. */
static int milliseconds_left(uint64_t deadline) {
  if (deadline == RM_NO_DEADLINE) return -1;
  uint64_t now = rm_ep_now_us();
  if (now >= deadline) return 0;
  uint64_t ms = (deadline - now + 999) / 1000;
  return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* A wait that may be interrupted looks up this often. */
#define RM_LOOK_MS 250

/* One sleep, perhaps a short one: 0 if there is to be another look. */
static int sleep_once(rm_endpoint *ep, rm_waiter *waiter, uint64_t deadline) {
  int left = milliseconds_left(deadline);
  bool cut = ep->interrupted && (left < 0 || left > RM_LOOK_MS);
  int error = rm_wait(ep->channel, waiter, cut ? RM_LOOK_MS : left);
  if (!cut || error != RM_ETIMEOUT) return error;
  return ep->interrupted() ? -EINTR : 0;
}

int rm_ep_error(rm_endpoint *ep) {
  return ep->channel ? rm_channel_error(ep->channel, NULL) : RM_ECLOSED;
}

static void list_sleeper(rm_endpoint *ep, rm_sleeper *one) {
  one->next = ep->sleepers;
  one->listed = true;
  ep->sleepers = one;
}

static void unlist_sleeper(rm_endpoint *ep, rm_sleeper *one) {
  if (!one->listed) return;
  rm_sleeper **at = &ep->sleepers;
  while (*at != one) at = &(*at)->next;
  *at = one->next;
}

void rm_ep_wake(rm_endpoint *ep) {
  rm_sleeper *one = ep->sleepers;
  ep->sleepers = NULL;
  while (one) {
    rm_sleeper *next = one->next;
    one->listed = false;
    rm_wake(ep->channel, &one->waiter);
    one = next;
  }
}

static int sleep_listed(rm_endpoint *ep, uint64_t deadline) {
  rm_sleeper one = {0};
  list_sleeper(ep, &one);
  pthread_mutex_unlock(&ep->lock);
  int error = sleep_once(ep, &one.waiter, deadline);
  pthread_mutex_lock(&ep->lock);
  unlist_sleeper(ep, &one);
  return error;
}

int rm_ep_sleep(rm_endpoint *ep, rm_ready_test ready, void *what, uint64_t deadline) {
  int error = 0;
  while (!ready(ep, what) && !error) error = sleep_listed(ep, deadline);
  return ready(ep, what) ? (error == -EINTR ? error : 0) : error;
}

/* Sleeps until the courier says something, or a limit: 0 if there is to be another look. */
static int sleep_beside(rm_endpoint *ep, uint64_t deadline) {
  uint64_t now = rm_ep_now_us(), end = now + RM_LOOK_MS * 1000;
  if (now >= deadline) return RM_ETIMEOUT;
  if (end > deadline) end = deadline;
  struct timespec until = {(time_t)(end / 1000000), (long)(end % 1000000) * 1000};
  if (!pthread_cond_timedwait(&ep->let_go, &ep->lock, &until) || !ep->interrupted) return 0;
  pthread_mutex_unlock(&ep->lock);
  int interrupted = ep->interrupted();
  pthread_mutex_lock(&ep->lock);
  return interrupted ? -EINTR : 0;
}

int rm_ep_await_courier(rm_endpoint *ep, rm_ready_test ready, void *what, uint64_t deadline) {
  int error = 0;
  while (!ready(ep, what) && !error) error = sleep_beside(ep, deadline);
  return ready(ep, what) ? (error == -EINTR ? error : 0) : error;
}
