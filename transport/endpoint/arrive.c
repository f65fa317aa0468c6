/* arrive.c: what comes from the peer, on the reading thread: checked here, once; never waits.
 * Must not know: how answers are sent. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

static void broken(rm_endpoint *ep, const char *why) { rm_channel_end(ep->channel, why); }

/* The body of a record, if it is at least n bytes. */
static const void *body_of(rm_endpoint *ep, const rm_record *record, size_t n) {
  if (record->size - sizeof *record >= n) return record + 1;
  broken(ep, "a record is too short");
  return NULL;
}

/* ---- messages */

/* Within the window that the peer was told? */
static bool in_window(rm_endpoint *ep, uint64_t n) {
  pthread_mutex_lock(&ep->lock);
  uint64_t lies = ep->received - ep->told, cost = n + RM_MESSAGE_COST;
  bool fits = n <= ep->mine.message_max && lies + cost <= ep->mine.window;
  if (fits) ep->received += cost;
  pthread_mutex_unlock(&ep->lock);
  if (!fits) broken(ep, "a message beyond the window");
  return fits;
}

static rm_message *expect_message(rm_endpoint *ep, uint64_t n) {
  if (!in_window(ep, n)) return NULL;
  rm_message *message = rm_ep_new_message(n);
  if (!message) broken(ep, "out of memory for a message");
  return message;
}

static void take_message(rm_endpoint *ep, const rm_record *record) {
  size_t n = record->size - sizeof *record;
  rm_message *message = expect_message(ep, n);
  if (!message) return;
  memcpy(message->bytes, record + 1, n);
  rm_ep_deliver(ep, message);
}

static void begin_incoming(rm_endpoint *ep, rm_incoming incoming) {
  if (ep->incoming.active) return broken(ep, "a payload before the last one was complete");
  incoming.active = true;
  incoming.unplaced = incoming.left;
  ep->incoming = incoming;
}

static void take_large(rm_endpoint *ep, const rm_record *record) {
  const rm_ep_large *body = body_of(ep, record, sizeof *body);
  if (!body) return;
  if (!body->n) return broken(ep, "a large message of no bytes");
  rm_message *message = expect_message(ep, body->n);
  if (!message) return;
  begin_incoming(ep, (rm_incoming){.at = message->bytes, .left = message->n, .message = message});
}

static void take_consumed(rm_endpoint *ep, const rm_record *record) {
  const rm_ep_consumed *body = body_of(ep, record, sizeof *body);
  if (!body) return;
  pthread_mutex_lock(&ep->lock);
  bool sane = body->total - ep->peer_consumed <= ep->sent - ep->peer_consumed;
  if (sane) ep->peer_consumed = body->total;
  rm_ep_wake(ep);
  pthread_mutex_unlock(&ep->lock);
  if (!sane) broken(ep, "more messages received than were sent");
}

/* ---- the peer writes */

static void take_small_write(rm_endpoint *ep, const rm_ep_span *span, rm_region *region) {
  if (region) memcpy(region->base + span->offset, span + 1, span->n);
  rm_ep_unclaim(ep, region);
  rm_ep_answer(ep, span->token, region ? 0 : -EACCES);
}

static void take_write(rm_endpoint *ep, const rm_record *record) {
  const rm_ep_span *span = body_of(ep, record, sizeof *span);
  if (!span) return;
  if (span->in_record && span->n != record->size - sizeof *record - sizeof *span)
    return broken(ep, "a write whose length is not that of its record");
  if (!span->in_record && !span->n) return broken(ep, "a large write of no bytes");
  rm_region *region = rm_ep_claim(ep, span, RM_REMOTE_WRITE);
  if (span->in_record) return take_small_write(ep, span, region);
  begin_incoming(ep, (rm_incoming){.at = region ? region->base + span->offset : NULL,
                                   .left = span->n,
                                   .region = region,
                                   .token = span->token,
                                   .status = region ? 0 : -EACCES});
}

/* ---- the peer reads */

static bool answer_small_read(rm_endpoint *ep, const rm_ep_span *span, rm_region *region) {
  rm_ep_done body = {span->token, 0};
  uint32_t size = (uint32_t)(sizeof(rm_record) + sizeof body + span->n);
  rm_record *record = rm_try_begin(ep->channel, size);
  if (!record) return false;
  record->op = RM_EP_DATA;
  memcpy(record + 1, &body, sizeof body);
  memcpy((uint8_t *)(record + 1) + sizeof body, region->base + span->offset, span->n);
  rm_ep_unclaim(ep, region);
  rm_commit_unsent(ep->channel);
  rm_try_flush(ep->channel);
  return true;
}

static void take_read(rm_endpoint *ep, const rm_record *record) {
  const rm_ep_span *span = body_of(ep, record, sizeof *span);
  if (!span) return;
  if (!span->token) return broken(ep, "a read without a token");
  rm_region *region = rm_ep_claim(ep, span, RM_REMOTE_READ);
  if (!region) return rm_ep_answer(ep, span->token, -EACCES);
  if (span->n <= ep->inline_max && answer_small_read(ep, span, region)) return;
  rm_job job = {.kind = RM_JOB_SERVE_READ,
                .span = *span,
                .region = region,
                .bytes = region->base + span->offset};
  if (!rm_ep_enqueue_copy(ep, job)) broken(ep, "out of memory for a read");
}

/* ---- answers to our own transfers */

static void take_done(rm_endpoint *ep, const rm_record *record) {
  const rm_ep_done *body = body_of(ep, record, sizeof *body);
  rm_transfer *t = body ? rm_ep_find_transfer(ep, body->token) : NULL;
  if (!body) return;
  if (!t) return broken(ep, "an answer that nothing waits for");
  if (t->kind == RM_TRANSFER_READ && !body->status && t->arrived != t->n)
    return broken(ep, "a read ended early");
  rm_ep_finish_transfer(ep, t, body->status ? -EACCES : 0);
}

static void take_data(rm_endpoint *ep, const rm_record *record) {
  const rm_ep_done *body = body_of(ep, record, sizeof *body);
  rm_transfer *t = body ? rm_ep_find_transfer(ep, body->token) : NULL;
  if (!body) return;
  size_t n = record->size - sizeof *record - sizeof *body;
  if (!t || t->kind != RM_TRANSFER_READ || t->n != n || t->placed)
    return broken(ep, "data that nothing waits for");
  memcpy(t->local, body + 1, n);
  rm_ep_finish_transfer(ep, t, 0);
}

/* ---- the channel's events */

static void on_record(void *user, const rm_record *record) {
  rm_endpoint *ep = user;
  pthread_mutex_lock(&ep->lock); /* until the channel is known here */
  pthread_mutex_unlock(&ep->lock);
  switch (record->op) {
  case RM_EP_MESSAGE: return take_message(ep, record);
  case RM_EP_LARGE: return take_large(ep, record);
  case RM_EP_CONSUMED: return take_consumed(ep, record);
  case RM_EP_WRITE: return take_write(ep, record);
  case RM_EP_READ: return take_read(ep, record);
  case RM_EP_DATA: return take_data(ep, record);
  case RM_EP_DONE: return take_done(ep, record);
  default: broken(ep, "a record of an unknown kind");
  }
}

static void *nowhere(rm_endpoint *ep) {
  if (!ep->nowhere) ep->nowhere = malloc(RM_BULK_MAX);
  return ep->nowhere;
}

/* Bulk messages of tag 0 belong to what was announced. Several may be on their way at once. */
static void *place_announced(rm_endpoint *ep, size_t n) {
  rm_incoming *incoming = &ep->incoming;
  if (!incoming->active || n > incoming->unplaced) return NULL;
  incoming->unplaced -= n;
  if (!incoming->at) return nowhere(ep);
  incoming->at += n;
  return incoming->at - n;
}

/* Others belong to the READ of that token. */
static void *place_read(rm_endpoint *ep, uint32_t token, size_t n) {
  rm_transfer *t = rm_ep_find_transfer(ep, token);
  if (!t || t->kind != RM_TRANSFER_READ || n > t->n - t->placed) return NULL;
  t->placed += n;
  return t->local + t->placed - n;
}

static void *on_bulk(void *user, uint32_t tag, size_t n) {
  return tag ? place_read(user, tag, n) : place_announced(user, n);
}

static void finish_incoming(rm_endpoint *ep) {
  rm_incoming done = ep->incoming;
  ep->incoming = (rm_incoming){0};
  if (done.message) return rm_ep_deliver(ep, done.message);
  rm_ep_unclaim(ep, done.region);
  rm_ep_answer(ep, done.token, done.status);
}

static void on_bulk_done(void *user, uint32_t tag, void *where, size_t n) {
  rm_endpoint *ep = user;
  rm_transfer *t = tag ? rm_ep_find_transfer(ep, tag) : NULL;
  (void)where;
  if (t) t->arrived += n;
  rm_bulk_release(ep->channel, tag);
  if (tag) return;
  ep->incoming.left -= n;
  if (!ep->incoming.left) finish_incoming(ep);
}

const rm_events rm_endpoint_events = {
    .on_record = on_record, .on_bulk = on_bulk, .on_bulk_done = on_bulk_done};
