/* messages.c: sending and receiving messages, and the window that bounds what lies unreceived.
 * Must not know: transfers, keys. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

static uint64_t cost_of(uint64_t n) { return n + RM_MESSAGE_COST; }

/* ---- sending */

/* Twice the largest message: it fits as soon as less than half of the window is taken, though up to
 * a quarter may be free again without our being told. */
uint64_t rm_least_window(uint64_t message_max) { return 2 * cost_of(message_max); }

static bool window_open(rm_endpoint *ep, void *what) {
  return ep->sent - ep->peer_consumed + *(uint64_t *)what <= ep->theirs.window;
}

/* Books a message's cost; waits until the peer's program has received enough. */
static int book(rm_endpoint *ep, uint64_t cost, uint64_t deadline) {
  pthread_mutex_lock(&ep->lock);
  int error = rm_ep_sleep(ep, window_open, &cost, deadline);
  if (!error) ep->sent += cost;
  pthread_mutex_unlock(&ep->lock);
  return error;
}

static int unbook(rm_endpoint *ep, uint64_t cost, int error) {
  pthread_mutex_lock(&ep->lock);
  ep->sent -= cost;
  rm_ep_wake(ep);
  pthread_mutex_unlock(&ep->lock);
  return error;
}

static int send_small(rm_endpoint *ep, rm_piece one, uint64_t deadline) {
  rm_record *record = rm_ep_begin(ep, RM_EP_MESSAGE, one.n, deadline);
  if (!record) return rm_ep_error(ep) ? rm_ep_error(ep) : RM_ETIMEOUT;
  if (one.n) memcpy(record + 1, one.bytes, one.n);
  rm_commit_unsent(ep->channel);
  return 0;
}

static bool large_sent(rm_endpoint *ep, void *what) {
  (void)ep;
  return ((rm_large *)what)->sent;
}

/* With the lock. Its sending has not begun: it never will. */
static void withdraw(rm_endpoint *ep, rm_job *job) {
  rm_job **at = &ep->jobs;
  while (*at != job) at = &(*at)->next;
  *at = job->next;
  if (!job->next) ep->jobs_last = at;
}

/* Once begun it is seen through: half a message would be the end of the channel. */
static int send_large(rm_endpoint *ep, rm_piece one, uint64_t deadline, bool *went) {
  rm_large large = {.job = {.kind = RM_JOB_LARGE, .bytes = one.bytes, .span.n = one.n}};
  large.job.large = &large;
  if (!rm_ep_enqueue(ep, &large.job)) return rm_ep_error(ep) ? rm_ep_error(ep) : -ENOMEM;
  pthread_mutex_lock(&ep->lock);
  int error = rm_ep_await_courier(ep, large_sent, &large, deadline);
  if (error && !large.begun) {
    withdraw(ep, &large.job);
  } else {
    while (!large.sent) pthread_cond_wait(&ep->let_go, &ep->lock);
    *went = !large.error;
    if (error != -EINTR) error = large.error;
  }
  pthread_mutex_unlock(&ep->lock);
  return error;
}

/* *went: it is on its way, also if the caller was interrupted meanwhile. */
static int send_one(rm_endpoint *ep, rm_piece one, uint64_t deadline, bool *went) {
  *went = false;
  if (one.n > ep->theirs.message_max) return -EMSGSIZE;
  int error = book(ep, cost_of(one.n), deadline);
  if (error) return error;
  error =
      one.n <= ep->inline_max ? send_small(ep, one, deadline) : send_large(ep, one, deadline, went);
  *went = *went || !error;
  return *went ? error : unbook(ep, cost_of(one.n), error);
}

int rm_endpoint_send(rm_endpoint *ep, const rm_piece *messages, size_t count, uint64_t deadline,
                     size_t *sent) {
  int error = 0;
  bool went = false;
  for (*sent = 0; *sent < count && !error; *sent += went)
    error = send_one(ep, messages[*sent], deadline, &went);
  rm_try_flush(ep->channel);
  return error;
}

/* ---- receiving */

rm_message *rm_ep_new_message(size_t n) {
  rm_message *message = malloc(sizeof *message + n);
  if (message) *message = (rm_message){.n = n};
  return message;
}

void rm_ep_deliver(rm_endpoint *ep, rm_message *message) {
  pthread_mutex_lock(&ep->lock);
  *ep->last = message;
  ep->last = &message->next;
  rm_ep_wake(ep);
  pthread_mutex_unlock(&ep->lock);
}

static bool has_message(rm_endpoint *ep, void *what) {
  (void)what;
  return ep->first != NULL;
}

/* With the lock: the first messages, up to limit, as a list. */
static rm_message *take(rm_endpoint *ep, size_t limit) {
  rm_message *list = ep->first, **at = &list;
  for (; *at && limit; limit--, at = &(*at)->next) ep->consumed += cost_of((*at)->n);
  ep->first = *at;
  *at = NULL;
  if (!ep->first) ep->last = &ep->first;
  return list;
}

/* With the lock: is enough free again that the peer should hear of it? What it has to hear then. */
static bool consumption_due(rm_endpoint *ep, uint64_t *total) {
  if (ep->consumed - ep->told < ep->mine.window / RM_WINDOW_SHARE) return false;
  *total = ep->told = ep->consumed;
  return true;
}

int rm_endpoint_receive(rm_endpoint *ep, size_t limit, uint64_t deadline, rm_message **list) {
  uint64_t total = 0;
  pthread_mutex_lock(&ep->lock);
  int error = 0;
  if (!ep->first) error = rm_ep_sleep(ep, has_message, NULL, deadline);
  *list = error ? NULL : take(ep, limit);
  bool due = !error && consumption_due(ep, &total);
  pthread_mutex_unlock(&ep->lock);
  if (due) rm_ep_tell_consumed(ep, total);
  return error;
}
