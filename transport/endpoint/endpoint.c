/* endpoint.c: an endpoint's beginning and end. Cold.
 * Must not know: what it carries. */
#include "endpoint.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "inside.h"

/* A condition whose deadlines are those of rm_deadline_after. */
static void init_monotonic(pthread_cond_t *condition) {
  pthread_condattr_t how;
  pthread_condattr_init(&how);
  pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &how);
  pthread_condattr_destroy(&how);
}

rm_endpoint *rm_endpoint_new(rm_limits mine, rm_limits theirs, uint32_t record_max) {
  rm_endpoint *ep = calloc(1, sizeof *ep);
  if (!ep) return NULL;
  pthread_mutex_init(&ep->lock, NULL);
  pthread_cond_init(&ep->work, NULL);
  init_monotonic(&ep->let_go);
  rm_ep_open_pool(&ep->pool);
  ep->mine = mine;
  ep->theirs = theirs;
  uint32_t head = (uint32_t)(sizeof(rm_record) + sizeof(rm_ep_span));
  ep->inline_max = record_max - head < RM_INLINE_BYTES ? record_max - head : RM_INLINE_BYTES;
  ep->last = &ep->first;
  ep->jobs_last = &ep->jobs;
  return ep;
}

void rm_endpoint_interruptible(rm_endpoint *ep, int (*interrupted)(void)) {
  ep->interrupted = interrupted;
}

rm_channel *rm_endpoint_channel(rm_endpoint *ep) { return ep->channel; }

void rm_endpoint_abandon(rm_endpoint *ep) {
  rm_channel_abandon(ep->channel);
  if (ep->pool.open) close(ep->pool.fd);
}

/* The reading thread takes the lock before it looks at ep->channel, so it finds it set. */
void rm_endpoint_opening(rm_endpoint *ep) { pthread_mutex_lock(&ep->lock); }

void rm_endpoint_opened(rm_endpoint *ep, rm_channel *channel) {
  ep->channel = channel;
  pthread_mutex_unlock(&ep->lock);
}

static bool courier_rests(rm_endpoint *ep) {
  pthread_mutex_lock(&ep->lock);
  bool rests = !ep->jobs && !ep->busy;
  pthread_mutex_unlock(&ep->lock);
  return rests;
}

void rm_endpoint_close(rm_endpoint *ep, int drain_ms) {
  uint64_t now = rm_ep_now_us(), end = now + (uint64_t)(drain_ms > 0 ? drain_ms : 0) * 1000;
  for (; !courier_rests(ep) && !rm_ep_error(ep) && now < end; now = rm_ep_now_us())
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  rm_channel_close(ep->channel, now < end ? (int)((end - now) / 1000) : 0);
}

void rm_endpoint_quiesce(rm_endpoint *ep) {
  if (!ep->channel) return;
  rm_channel_end(ep->channel, "");
  rm_ep_stop_courier(ep);
  rm_channel_free(ep->channel);
  ep->channel = NULL;
}

void rm_endpoint_free(rm_endpoint *ep) {
  if (!ep) return;
  rm_endpoint_quiesce(ep);
  for (rm_message *one = ep->first, *next; one; one = next) {
    next = one->next;
    free(one);
  }
  free(ep->incoming.message);
  free(ep->nowhere);
  rm_ep_free_regions(ep);
  rm_ep_close_pool(&ep->pool);
  pthread_mutex_destroy(&ep->lock);
  pthread_cond_destroy(&ep->work);
  pthread_cond_destroy(&ep->let_go);
  free(ep);
}
