/* transfers.c: the asking half of WRITE and READ: what is under way, by token.
 * Must not know: the peer's buffers. */
#include <errno.h>
#include <string.h>

#include "inside.h"

static rm_transfer **bucket(rm_endpoint *ep, uint32_t token) {
  return &ep->transfers[token % RM_TOKEN_BUCKETS];
}

/* With the lock. */
static rm_transfer *find(rm_endpoint *ep, uint32_t token) {
  rm_transfer *t = *bucket(ep, token);
  while (t && t->token != token) t = t->next;
  return t;
}

rm_transfer *rm_ep_find_transfer(rm_endpoint *ep, uint32_t token) {
  pthread_mutex_lock(&ep->lock);
  rm_transfer *t = find(ep, token);
  pthread_mutex_unlock(&ep->lock);
  return t;
}

static void list(rm_endpoint *ep, rm_transfer *t) {
  pthread_mutex_lock(&ep->lock);
  do t->token = ++ep->next_token;
  while (!t->token || find(ep, t->token));
  rm_transfer **first = bucket(ep, t->token);
  t->next = *first;
  *first = t;
  t->listed = true;
  pthread_mutex_unlock(&ep->lock);
}

/* With the lock. */
static void unlist(rm_endpoint *ep, rm_transfer *t) {
  if (!t->listed) return;
  rm_transfer **at = bucket(ep, t->token);
  while (*at != t) at = &(*at)->next;
  *at = t->next;
  t->listed = false;
}

/* Over once the peer has answered, and the courier no longer reads its bytes. */
static void end_if_over(rm_endpoint *ep, rm_transfer *t) {
  if (t->sending || !t->answered) return;
  unlist(ep, t);
  t->done = true;
  rm_ep_wake(ep);
}

void rm_ep_finish_transfer(rm_endpoint *ep, rm_transfer *t, int32_t status) {
  pthread_mutex_lock(&ep->lock);
  t->status = status;
  t->answered = true;
  end_if_over(ep, t);
  pthread_mutex_unlock(&ep->lock);
}

void rm_ep_transfer_sent(rm_endpoint *ep, rm_transfer *t) {
  pthread_mutex_lock(&ep->lock);
  t->sending = false;
  end_if_over(ep, t);
  pthread_cond_broadcast(&ep->let_go);
  pthread_mutex_unlock(&ep->lock);
}

/* A request, with the bytes of a small WRITE behind it. Nothing was begun if it fails. */
static int ask(rm_endpoint *ep, rm_transfer *t, uint16_t op, size_t bytes, uint64_t deadline) {
  rm_ep_span span = {t->key, t->offset, t->n, 0, 1};
  rm_record *record = rm_ep_begin(ep, op, sizeof span + bytes, deadline);
  if (!record) return rm_ep_error(ep) ? rm_ep_error(ep) : RM_ETIMEOUT;
  list(ep, t);
  span.token = t->token;
  memcpy(record + 1, &span, sizeof span);
  if (bytes) memcpy((uint8_t *)(record + 1) + sizeof span, t->local, bytes);
  rm_commit_unsent(ep->channel);
  rm_try_flush(ep->channel);
  return 0;
}

static int unstart(rm_endpoint *ep, rm_transfer *t) {
  pthread_mutex_lock(&ep->lock);
  unlist(ep, t);
  pthread_mutex_unlock(&ep->lock);
  return rm_ep_error(ep) ? rm_ep_error(ep) : -ENOMEM;
}

static int ask_courier(rm_endpoint *ep, rm_transfer *t) {
  t->sending = true;
  list(ep, t);
  rm_ep_span span = {t->key, t->offset, t->n, t->token, 0};
  rm_job job = {.kind = RM_JOB_WRITE, .span = span, .bytes = t->local, .transfer = t};
  return rm_ep_enqueue_copy(ep, job) ? 0 : unstart(ep, t);
}

int rm_transfer_start(rm_endpoint *ep, rm_transfer *t, uint64_t deadline) {
  if (rm_ep_error(ep)) return rm_ep_error(ep);
  if (t->kind == RM_TRANSFER_READ) return ask(ep, t, RM_EP_READ, 0, deadline);
  return t->n <= ep->inline_max ? ask(ep, t, RM_EP_WRITE, t->n, deadline) : ask_courier(ep, t);
}

static bool is_sent(rm_endpoint *ep, void *what) {
  (void)ep;
  return !((rm_transfer *)what)->sending;
}

static bool is_done(rm_endpoint *ep, void *what) {
  (void)ep;
  return ((rm_transfer *)what)->done;
}

int rm_transfer_wait(rm_endpoint *ep, rm_transfer *t, uint64_t deadline) {
  pthread_mutex_lock(&ep->lock);
  int error = rm_ep_await_courier(ep, is_sent, t, deadline);
  if (!error && !t->done) error = rm_ep_sleep(ep, is_done, t, deadline);
  if (!error) error = t->status;
  pthread_mutex_unlock(&ep->lock);
  return error;
}

bool rm_transfer_done(rm_endpoint *ep, rm_transfer *t) {
  pthread_mutex_lock(&ep->lock);
  bool done = t->done;
  pthread_mutex_unlock(&ep->lock);
  return done;
}
