/* rdma.c: the receiving half of the link over RDMA verbs, its sleeping and its end. Nothing is
 * copied here but what came in for the ring: the peer can write the landing ring at any time, and
 * what was checked must not change. Must not know: how the pairs were made, where bulk messages
 * lie. */
#include "rdma.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "internal.h"

/* ---- what has come */

static void lock_pump(rm_rdma *r) {
  while (rm_swap(&r->pump_lock, 1)) sched_yield();
}

static void keep_completion(rm_rdma *r, const struct ibv_wc *wc) {
  if (rm_unlikely(wc->wr_id == RM_RDMA_LAST)) {
    rm_store_ordered(&r->drained, 1);
  } else if (rm_unlikely(wc->status)) {
    bool first = !rm_load(&r->failed) && !rm_load(&r->stopping);
    if (first) rm_store_ordered(&r->failed, (uint32_t)wc->status);
  } else if (wc->opcode & IBV_WC_RECV) {
    uint32_t at = r->in.polled % RM_RDMA_RECEIVES;
    r->in.held[at].imm = ntohl(wc->imm_data);
    r->in.held[at].n = wc->byte_len;
    rm_store(&r->in.polled, r->in.polled + 1);
  } else {
    rm_store(&r->in.reads_done, wc->wr_id + 1);
  }
}

/* Into `held`. */
bool rm_rdma_pump(rm_rdma *r) {
  struct ibv_wc wc[16];
  lock_pump(r);
  int n = rm_poll_cq(r->in_cq, 16, wc);
  for (int i = 0; i < n; i++) keep_completion(r, &wc[i]);
  bool some = r->in.polled != rm_load(&r->in.seen) || r->in.reads_done != rm_load(&r->reads_landed);
  rm_store(&r->pump_lock, 0);
  return some;
}

bool rm_rdma_receives(rm_rdma *r, uint32_t count) {
  for (; count; count -= RM_RDMA_REPOST, r->in.posted += RM_RDMA_REPOST)
    if (rm_post_recv(r->ring_qp, r->in.receives)) return false;
  return true;
}

static void wake_senders(rm_rdma *r) {
  rm_add(&r->turn, 1);
  if (rm_load_ordered(&r->turn_sleepers)) rm_futex_wake(&r->turn, INT32_MAX);
}

/* A sender that is stuck holds the lock: it tells it too. */
void rm_rdma_tell(rm_rdma *r, rm_channel *ch) {
  rm_store_ordered(&r->base.due, 1);
  wake_senders(r);
  rm_in_nudge(ch);
}

/* Receives are posted anew before the peer is told that it may use them. */
static void give_back_receives(rm_rdma *r, rm_channel *ch) {
  uint32_t before = r->taken;
  while (r->in.handled - r->taken >= RM_RDMA_REPOST && rm_rdma_receives(r, RM_RDMA_REPOST))
    rm_store_ordered(&r->taken, r->taken + RM_RDMA_REPOST);
  bool due = r->taken - rm_load(&r->out.told_taken) >= RM_RDMA_RECEIVES / 4;
  if (due && r->taken != before) rm_rdma_tell(r, ch);
}

static bool take_credit(rm_rdma *r, rm_channel *ch, uint32_t taken) {
  uint32_t more = taken - r->peer_taken;
  if (more > rm_load(&r->out.count) - r->peer_taken)
    return rm_in_broken(ch, "%u immediates taken in, more than were sent", more);
  if (more) {
    rm_store_ordered(&r->peer_taken, taken);
    wake_senders(r);
  }
  return rm_in_credit(ch, r->in.credit);
}

static bool take_fetched(rm_rdma *r, rm_channel *ch, uint32_t fetched) {
  uint32_t more = fetched - r->peer_fetched;
  if (!more) return true;
  if (more > rm_load(&r->out.announced) - r->peer_fetched)
    return rm_in_broken(ch, "%u bulk messages read, more than were announced", more);
  for (uint32_t k = r->peer_fetched; k != fetched; k++)
    rm_rdma_used(rm_load(&r->out.lent[k % RM_RDMA_LENT]));
  rm_store_ordered(&r->peer_fetched, fetched);
  wake_senders(r);
  rm_in_returned(ch, r->base.returned + more);
  return true;
}

static bool take_records(rm_rdma *r, rm_channel *ch, uint32_t n) {
  const uint8_t *from = r->landing + (r->in.ring_at & (r->mine.ring_bytes - 1));
  void *to = rm_in_records(ch, n);
  if (!to) return false;
  memcpy(to, from, n);
  r->in.ring_at += n;
  return rm_in_records_landed(ch, n);
}

/* The handlers: 1 handled, 0 not yet, -1 the channel has ended. */

static int take_brief(rm_rdma *r, rm_channel *ch, uint32_t imm, uint32_t n) {
  rm_brief brief = rm_imm_brief(imm);
  if (brief.n != n)
    return rm_in_broken(ch, "%u bytes of records where %u were written", brief.n, n) - 1;
  if (rm_in_records_wait(ch)) return 0;
  r->in.credit.ring += brief.ring;
  r->in.credit.bulk[0] = (uint8_t)(r->in.credit.bulk[0] + brief.bulk[0]);
  r->in.credit.bulk[1] = (uint8_t)(r->in.credit.bulk[1] + brief.bulk[1]);
  return take_credit(r, ch, r->peer_taken + brief.taken) && take_records(r, ch, n) ? 1 : -1;
}

static bool check_notice(rm_channel *ch, const rm_notice *notice, uint32_t n) {
  bool bears = notice->kind == RM_NOTICE_NOTE || notice->kind == RM_NOTICE_BULK;
  if (notice->kind < RM_NOTICE_CREDIT || notice->kind > RM_NOTICE_READ)
    return rm_in_broken(ch, "notice of unknown kind %u", notice->kind);
  if (bears ? notice->n > RM_NOTICE_BYTES || n != RM_NOTICE_HEAD + notice->n : n != RM_NOTICE_HEAD)
    return rm_in_broken(ch, "notice of kind %u with %u bytes", notice->kind, n);
  return true;
}

static bool take_note(rm_rdma *r, rm_channel *ch, const rm_notice *notice) {
  uint32_t longest = notice->note == RM_NOTE_URGENT ? RM_URGENT_MAX
                     : notice->note == RM_NOTE_BYE  ? RM_NOTE_MAX
                                                    : 0;
  if (notice->note < RM_NOTE_URGENT || notice->note > RM_NOTE_BYE || notice->n > longest)
    return rm_in_broken(ch, "note of kind %u with %u bytes", notice->note, notice->n);
  if (rm_rdma_is_ping(notice->note)) rm_rdma_rest_in(r);
  return rm_in_note(ch, notice->note, notice->bytes, notice->n);
}

static int take_content(rm_rdma *r, rm_channel *ch, const rm_notice *notice) {
  switch (notice->kind) {
  case RM_NOTICE_RECORDS:
    if (rm_in_records_wait(ch)) return 0;
    return take_records(r, ch, notice->n) ? 1 : -1;
  case RM_NOTICE_NOTE: return take_note(r, ch, notice) ? 1 : -1;
  case RM_NOTICE_CREDIT: return 1;
  default: return rm_rdma_bulk_in(r, ch, notice);
  }
}

/* Looked at once, in a copy: the peer could write its place anew, also while this one waits. */
static bool look_at_notice(rm_rdma *r, rm_channel *ch, uint32_t n) {
  rm_notice *notice = &r->in.notice;
  if (n < RM_NOTICE_HEAD || n > sizeof *notice) return rm_in_broken(ch, "notice of %u bytes", n);
  memcpy(notice, r->box_in + rm_box_notice(r->in.handled, RM_RDMA_RECEIVES), n);
  if (!check_notice(ch, notice, n)) return false;
  r->in.looked = true;
  r->in.credit = (rm_credit){notice->ring, {notice->bulk[0], notice->bulk[1]}};
  return take_credit(r, ch, notice->taken) && take_fetched(r, ch, notice->fetched);
}

static int take_notice(rm_rdma *r, rm_channel *ch, uint32_t n) {
  if (!r->in.looked && !look_at_notice(r, ch, n)) return -1;
  return take_content(r, ch, &r->in.notice);
}

/* 1, 0 or -1 as above. */
static int take_next(rm_rdma *r, rm_channel *ch) {
  uint32_t at = r->in.handled % RM_RDMA_RECEIVES;
  uint32_t imm = r->in.held[at].imm, n = r->in.held[at].n;
  if (rm_unlikely(!rm_imm_in_order(imm, r->in.handled)))
    return rm_in_broken(ch, "immediate %08x out of order at %u", imm, r->in.handled) - 1;
  return rm_imm_is_notice(imm) ? take_notice(r, ch, n) : take_brief(r, ch, imm, n);
}

/* Handles what has come, in order. What can't be taken in yet holds up what
 * follows, until a read is done. */
static long take_in(rm_rdma *r, rm_channel *ch) {
  if (!rm_rdma_pump(r)) return 0;
  long bytes = rm_rdma_land(r, ch);
  rm_store(&r->in.seen, rm_load(&r->in.polled));
  while (bytes >= 0 && r->in.handled != r->in.seen) {
    uint32_t n = r->in.held[r->in.handled % RM_RDMA_RECEIVES].n;
    int taken = take_next(r, ch);
    if (taken < 0) bytes = -1;
    if (taken <= 0) break;
    r->in.handled++;
    r->in.looked = false;
    bytes += n + 1;
  }
  rm_rdma_post_reads(r);
  give_back_receives(r, ch);
  return bytes < 0 ? 1 : bytes;
}

/* ---- sleeping */

/* For all completions: those of reads are not solicited, nor, on Soft-RoCE, what a dead pair gives
 * back. */
static void arm(rm_rdma *r) {
  rm_store_ordered(&r->armed, 1);
  rm_notify_cq(r->in_cq, 0);
}

/* Only the reading thread: an event stays until whoever it woke has looked. */
static void take_events(rm_rdma *r) {
  struct ibv_cq *cq;
  void *user;
  rm_store_ordered(&r->armed, 0);
  if (r->verbs->get_cq_event(r->events, &cq, &user) == 0) r->verbs->ack_cq_events(cq, 1);
}

/* Nothing but its end ever comes over the lifeline. */
static void look_at_lifeline(rm_rdma *r, short events) {
  char byte;
  if (!events || (recv(r->fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)) return;
  r->gone_ms = rm_now_ms();
  rm_store_ordered(&r->gone, 1);
}

/* A peer that dies loses its memory before its lifeline. */
static bool has_died(rm_rdma *r) {
  struct pollfd lifeline = {.fd = r->fd, .events = POLLIN};
  return rm_load(&r->gone) || poll(&lifeline, 1, RM_RDMA_LINGER_MS) > 0;
}

static int failure(rm_rdma *r) {
  if (r->failed == IBV_WC_WR_FLUSH_ERR) return -ECONNRESET;
  if (r->failed == IBV_WC_RETRY_EXC_ERR) return -ETIMEDOUT;
  return has_died(r) ? -ECONNRESET : -EREMOTEIO;
}

/* 0, or why nothing more will come. */
static int over(rm_rdma *r) {
  if (rm_load(&r->stopping)) return RM_EPEER;
  if (rm_load(&r->failed)) return failure(r);
  if (!rm_load(&r->gone)) return 0;
  return rm_load(&r->finished) || rm_now_ms() - r->gone_ms > RM_RDMA_LINGER_MS ? RM_EPEER : 0;
}

/* Until an event, the lifeline's end, or a limit. Was there an event? */
static bool sleep_on(rm_rdma *r, int timeout_ms) {
  bool gone = rm_load(&r->gone);
  struct pollfd fds[2] = {{.fd = r->events->fd, .events = POLLIN}, {.fd = r->fd, .events = POLLIN}};
  if (gone && (timeout_ms < 0 || timeout_ms > (int)RM_RDMA_LINGER_MS / 4))
    timeout_ms = RM_RDMA_LINGER_MS / 4;
  if (poll(fds, gone ? 1 : 2, timeout_ms) <= 0) return false;
  if (!gone) look_at_lifeline(r, fds[1].revents);
  return fds[0].revents;
}

static long rdma_receive(rm_link *link, rm_channel *to, bool sleep) {
  rm_rdma *r = (rm_rdma *)link;
  long n = take_in(r, to);
  while (!n) {
    if (rm_load(&r->armed)) {
      take_events(r);
      if ((n = take_in(r, to))) break;
    }
    int end = over(r);
    if (end || !sleep) return end ? end : -EAGAIN;
    arm(r);
    if (!(n = take_in(r, to))) sleep_on(r, -1);
  }
  return n;
}

static bool has_turn(rm_rdma *r) {
  return rm_load_ordered(&r->turn) != rm_load(&r->stuck_turn) || rm_load(&r->failed) ||
         rm_load(&r->stopping) || r->out.wrs - r->out.wrs_done + 2 > r->depth;
}

static int wait_turn(rm_rdma *r, int timeout_ms) {
  rm_add(&r->turn_sleepers, 1);
  if (!has_turn(r)) rm_futex_wait(&r->turn, rm_load(&r->stuck_turn), timeout_ms);
  rm_add(&r->turn_sleepers, -1);
  return has_turn(r) ? RM_WRITABLE : 0;
}

static int rdma_wait(rm_link *link, int events, int timeout_ms) {
  rm_rdma *r = (rm_rdma *)link;
  if (events & RM_WRITABLE && has_turn(r)) return RM_WRITABLE;
  if (!(events & RM_READABLE)) return wait_turn(r, timeout_ms);
  arm(r);
  if (rm_rdma_pump(r) || over(r)) return RM_READABLE;
  bool event = sleep_on(r, timeout_ms);
  if (event || rm_rdma_pump(r) || over(r)) return RM_READABLE;
  return events & RM_WRITABLE && has_turn(r) ? RM_WRITABLE : 0;
}

/* ---- the end */

static void rdma_finish(rm_link *link) { rm_store_ordered(&((rm_rdma *)link)->finished, 1); }

static void rdma_stop(rm_link *link) {
  rm_rdma *r = (rm_rdma *)link;
  if (!rm_swap(&r->stopping, 1)) rm_rdma_end_reads(r);
  shutdown(r->fd, SHUT_RDWR);
  wake_senders(r);
}

const rm_link_ops rm_rdma_ops = {
    .send = rm_rdma_send,
    .resume = rm_rdma_resume,
    .receive = rdma_receive,
    .wait = rdma_wait,
    .finish = rdma_finish,
    .stop = rdma_stop,
    .free = rm_rdma_free,
    .memory = rm_rdma_memory,
    .dmabuf = rm_rdma_dmabuf,
    .moves_alone = rm_rdma_moves_alone,
};
