/* courier.c: the thread that sends what may have to wait: answers of the reading thread, which must
 * not, and whatever has a deadline and is large. Started when first needed.
 * Must not know: where the bytes come from. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inside.h"

/* Between tries for room in the ring, when there is a deadline. */
#define RM_NAP_NS 100000

/* ---- small records */

rm_record *rm_ep_begin(rm_endpoint *ep, uint16_t op, size_t n, uint64_t deadline) {
  uint32_t size = (uint32_t)(sizeof(rm_record) + n);
  rm_record *record = NULL;
  if (deadline == RM_NO_DEADLINE) {
    record = rm_begin(ep->channel, size);
  } else {
    while (!(record = rm_try_begin(ep->channel, size)) && !rm_ep_error(ep) &&
           rm_ep_now_us() < deadline) {
      rm_try_flush(ep->channel);
      nanosleep(&(struct timespec){0, RM_NAP_NS}, NULL);
    }
  }
  if (record) record->op = op;
  return record;
}

static bool put_now(rm_endpoint *ep, uint16_t op, const void *body, size_t n) {
  rm_record *record = rm_try_begin(ep->channel, (uint32_t)(sizeof *record + n));
  if (!record) return false;
  record->op = op;
  memcpy(record + 1, body, n);
  rm_commit_unsent(ep->channel);
  rm_try_flush(ep->channel);
  return true;
}

static void put(rm_endpoint *ep, uint16_t op, const void *body, size_t n) {
  rm_record *record = rm_ep_begin(ep, op, n, RM_NO_DEADLINE);
  if (!record) return;
  memcpy(record + 1, body, n);
  rm_commit(ep->channel);
}

void rm_ep_answer(rm_endpoint *ep, uint32_t token, int32_t status) {
  rm_ep_done body = {token, status};
  if (put_now(ep, RM_EP_DONE, &body, sizeof body)) return;
  rm_job job = {.kind = RM_JOB_DONE, .span.token = token, .status = status};
  if (!rm_ep_enqueue_copy(ep, job)) rm_channel_end(ep->channel, "out of memory");
}

void rm_ep_tell_consumed(rm_endpoint *ep, uint64_t total) {
  rm_ep_consumed body = {total};
  if (put_now(ep, RM_EP_CONSUMED, &body, sizeof body)) return;
  rm_job job = {.kind = RM_JOB_CONSUMED, .span.n = total};
  if (!rm_ep_enqueue_copy(ep, job)) rm_channel_end(ep->channel, "out of memory");
}

/* ---- jobs */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* A record whose payload follows as bulk messages of tag 0. Lent bytes may still be under way. */
static int send_with_bulk(rm_endpoint *ep, uint16_t op, const void *body, size_t body_bytes,
                          const uint8_t *bytes, size_t n) {
  rm_record *record = rm_ep_begin(ep, op, body_bytes, RM_NO_DEADLINE);
  if (!record) return rm_ep_error(ep);
  memcpy(record + 1, body, body_bytes);
  rm_commit_with_bulk(ep->channel);
  int error = 0;
  for (size_t at = 0, part; at < n && !error; at += part) {
    part = least(n - at, RM_BULK_MAX);
    error = rm_bulk_in_order(ep->channel, 0, bytes + at, part, at + part == n);
  }
  return error;
}

static void serve_read(rm_endpoint *ep, const rm_job *job) {
  int error = 0;
  for (size_t at = 0, part; at < job->span.n && !error; at += part) {
    part = least(job->span.n - at, RM_BULK_MAX);
    error =
        rm_bulk_lend(ep->channel, job->span.token, job->bytes + at, part, at + part < job->span.n);
  }
  if (!error) error = rm_bulk_returned(ep->channel);
  rm_ep_unclaim(ep, job->region); /* first: the peer may ask for the buffer to be freed then */
  rm_ep_done body = {job->span.token, 0};
  if (!error) put(ep, RM_EP_DONE, &body, sizeof body);
}

static void send_large(rm_endpoint *ep, rm_job *job) {
  rm_ep_large body = {job->span.n};
  int error = send_with_bulk(ep, RM_EP_LARGE, &body, sizeof body, job->bytes, job->span.n);
  if (!error) error = rm_bulk_returned(ep->channel);
  pthread_mutex_lock(&ep->lock);
  job->large->error = error;
  job->large->sent = true;
  pthread_cond_broadcast(&ep->let_go);
  pthread_mutex_unlock(&ep->lock);
}

static void run_job(rm_endpoint *ep, rm_job *job) {
  rm_ep_done done = {job->span.token, job->status};
  rm_ep_consumed consumed = {job->span.n};
  switch (job->kind) {
  case RM_JOB_DONE: put(ep, RM_EP_DONE, &done, sizeof done); break;
  case RM_JOB_CONSUMED: put(ep, RM_EP_CONSUMED, &consumed, sizeof consumed); break;
  case RM_JOB_SERVE_READ: serve_read(ep, job); break;
  case RM_JOB_WRITE: /* what is lent the peer has when it answers */
    send_with_bulk(ep, RM_EP_WRITE, &job->span, sizeof job->span, job->bytes, job->span.n);
    rm_ep_transfer_sent(ep, job->transfer);
    break;
  default: send_large(ep, job); return; /* the sender's own */
  }
  free(job);
}

/* ---- the thread */

static rm_job *take_job(rm_endpoint *ep) {
  pthread_mutex_lock(&ep->lock);
  ep->busy = false;
  while (!ep->jobs && !ep->stopping) pthread_cond_wait(&ep->work, &ep->lock);
  rm_job *job = ep->jobs;
  if (job) {
    ep->jobs = job->next;
    if (!ep->jobs) ep->jobs_last = &ep->jobs;
    if (job->large) job->large->begun = true;
    ep->busy = true;
  }
  pthread_mutex_unlock(&ep->lock);
  return job;
}

static void *run(void *endpoint) {
  rm_job *job;
  while ((job = take_job(endpoint))) run_job(endpoint, job);
  return NULL;
}

/* The program's signals are for its own threads. */
static bool start_courier(rm_endpoint *ep) {
  if (ep->couriered) return true;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  ep->couriered = pthread_create(&ep->courier, NULL, run, ep) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (ep->couriered) pthread_setname_np(ep->courier, "remora-courier");
  return ep->couriered;
}

bool rm_ep_enqueue(rm_endpoint *ep, rm_job *job) {
  pthread_mutex_lock(&ep->lock);
  bool taken = !ep->stopping && start_courier(ep);
  if (taken) {
    job->next = NULL;
    *ep->jobs_last = job;
    ep->jobs_last = &job->next;
    pthread_cond_signal(&ep->work);
  }
  pthread_mutex_unlock(&ep->lock);
  return taken;
}

bool rm_ep_enqueue_copy(rm_endpoint *ep, rm_job job) {
  rm_job *copy = malloc(sizeof *copy);
  if (!copy) return false;
  *copy = job;
  if (rm_ep_enqueue(ep, copy)) return true;
  free(copy);
  return false;
}

/* What is queued is run: with the channel ended each job fails at once. */
void rm_ep_stop_courier(rm_endpoint *ep) {
  pthread_mutex_lock(&ep->lock);
  ep->stopping = true;
  pthread_cond_signal(&ep->work);
  pthread_mutex_unlock(&ep->lock);
  if (ep->couriered) pthread_join(ep->courier, NULL);
  ep->couriered = false;
}
