/* rdma_send.c: the sending half of the link over RDMA verbs. Every parcel is one or two linked work
 * requests, every send one doorbell; nothing is copied but what lies in notices.
 * Must not know: where bulk messages lie, what comes back. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "rdma.h"

static void batch_add(rm_rdma *r, int opcode, const void *from, uint32_t n, uint64_t to,
                      uint32_t key, uint32_t imm) {
  unsigned i = r->out.wr_count++;
  struct ibv_send_wr *wr = &r->out.wr[i];
  r->out.sge[i] = (struct ibv_sge){(uintptr_t)from, n, r->own_mr->lkey};
  wr->wr_id = ++r->out.wrs;
  wr->next = NULL;
  wr->sg_list = &r->out.sge[i];
  wr->num_sge = 1;
  wr->opcode = opcode;
  wr->send_flags = n <= r->inline_max ? IBV_SEND_INLINE : 0;
  wr->imm_data = imm;
  wr->rdma.remote_addr = to;
  wr->rdma.rkey = key;
  if (i) r->out.wr[i - 1].next = wr;
}

void rm_rdma_add_write(rm_rdma *r, const void *from, uint32_t n, uint64_t to, uint32_t key) {
  batch_add(r, IBV_WR_RDMA_WRITE, from, n, to, key, 0);
}

/* ---- credit that goes out */

/* What the peer has not been told. `taken` may be told in parts. */
static rm_brief news(rm_rdma *r, uint32_t n) {
  const rm_credit *now = &r->out.credit, *told = &r->out.told;
  uint32_t taken = rm_load(&r->taken) - r->out.told_taken;
  return (rm_brief){
      n,
      now->ring - told->ring,
      {(uint8_t)(now->bulk[0] - told->bulk[0]), (uint8_t)(now->bulk[1] - told->bulk[1])},
      taken < 7 ? taken : 7};
}

static void note_told(rm_rdma *r, uint32_t taken) {
  r->out.told = r->out.credit;
  rm_store(&r->out.told_taken, taken);
}

/* The next notice, in this side's copy of the peer's box. */
rm_notice *rm_rdma_notice(rm_rdma *r, uint8_t kind) {
  rm_notice *notice = (rm_notice *)(r->box_out + rm_box_notice(r->out.count, r->theirs.receives));
  rm_store_ordered(&r->base.due, 0); /* before the counters are read */
  uint32_t taken = rm_load(&r->taken);
  memset(notice, 0, RM_NOTICE_HEAD);
  notice->kind = kind;
  notice->bulk[0] = r->out.credit.bulk[0];
  notice->bulk[1] = r->out.credit.bulk[1];
  notice->ring = r->out.credit.ring;
  notice->taken = taken;
  notice->fetched = rm_load_ordered(&r->fetched);
  note_told(r, taken);
  rm_store(&r->out.told_fetched, notice->fetched);
  return notice;
}

void rm_rdma_add_notice(rm_rdma *r, uint32_t payload) {
  uint64_t place = rm_box_notice(r->out.count, r->theirs.receives);
  batch_add(r, IBV_WR_RDMA_WRITE_WITH_IMM, r->box_out + place, RM_NOTICE_HEAD + payload,
            r->theirs.box_at + place, r->theirs.box_key, htonl(rm_imm_notice(r->out.count)));
  rm_store(&r->out.count, r->out.count + 1);
}

/* ---- parcels */

static void add_records(rm_rdma *r, const rm_parcel *parcel) {
  uint64_t to = r->theirs.ring_at + (r->out.ring_at & (r->theirs.ring_bytes - 1));
  uint32_t n = (uint32_t)parcel->n;
  rm_brief brief = news(r, n);
  r->out.ring_at += n;
  if (rm_likely(rm_brief_fits(&brief) && !rm_load(&r->base.due))) {
    batch_add(r, IBV_WR_RDMA_WRITE_WITH_IMM, parcel->bytes, n, to, r->theirs.ring_key,
              htonl(rm_imm_records(r->out.count, &brief)));
    rm_store(&r->out.count, r->out.count + 1);
    note_told(r, r->out.told_taken + brief.taken);
    return;
  }
  rm_rdma_add_write(r, parcel->bytes, n, to, r->theirs.ring_key);
  rm_rdma_notice(r, RM_NOTICE_RECORDS)->n = n;
  rm_rdma_add_notice(r, 0);
}

static void add_note(rm_rdma *r, const rm_parcel *parcel) {
  rm_notice *notice = rm_rdma_notice(r, RM_NOTICE_NOTE);
  notice->note = (uint8_t)parcel->note;
  notice->n = (uint32_t)parcel->n;
  if (parcel->n) memcpy(notice->bytes, parcel->bytes, parcel->n);
  rm_rdma_add_notice(r, notice->n);
  if (rm_rdma_is_ping(parcel->note)) rm_rdma_rest_out(r);
  r->out.bye |= parcel->note == RM_NOTE_BYE;
}

static int add_parcel(rm_rdma *r, const rm_parcel *parcel) {
  switch (parcel->kind) {
  case RM_PARCEL_RECORDS: add_records(r, parcel); return 0;
  case RM_PARCEL_NOTE: add_note(r, parcel); return 0;
  case RM_PARCEL_BULK: return rm_rdma_bulk_out(r, parcel);
  default: rm_rdma_notice(r, RM_NOTICE_CREDIT), rm_rdma_add_notice(r, 0); return 0;
  }
}

/* ---- sending */

void rm_rdma_retire(rm_rdma *r) {
  struct ibv_wc wc[16];
  int n;
  while ((n = rm_poll_cq(r->out_cq, 16, wc)) > 0)
    for (int i = 0; i < n; i++) {
      if (!wc[i].status)
        r->out.wrs_done = wc[i].wr_id;
      else if (wc[i].status != IBV_WC_WR_FLUSH_ERR && !rm_load(&r->failed))
        rm_store_ordered(&r->failed, (uint32_t)wc[i].status);
    }
}

/* Room for one more parcel: a receive at the peer, and two work requests. */
static bool has_room(rm_rdma *r, const rm_parcel *parcel) {
  uint32_t reserve = parcel->kind == RM_PARCEL_CREDIT ? 0 : RM_RDMA_RESERVE;
  if (r->out.count - rm_load(&r->peer_taken) >= r->theirs.receives - reserve) return false;
  if (rm_unlikely(r->out.wrs - r->out.wrs_done + 2 > r->depth)) rm_rdma_retire(r);
  return r->out.wrs - r->out.wrs_done + 2 <= r->depth;
}

/* One doorbell for the batch; a completion is asked for now and then, to free
 * the queue, and for a goodbye, which is to arrive before the pair goes. */
static int ring_doorbell(rm_rdma *r) {
  if (!r->out.wr_count) return 0;
  struct ibv_send_wr *last = &r->out.wr[r->out.wr_count - 1];
  last->send_flags |= IBV_SEND_SOLICITED;
  if (r->out.bye || r->out.wrs - r->out.wrs_signalled >= RM_RDMA_SIGNAL) {
    last->send_flags |= IBV_SEND_SIGNALED;
    r->out.wrs_signalled = r->out.wrs;
    r->out.signals++;
  }
  r->out.posts++;
  r->out.wr_count = 0;
  return -rm_post_send(r->ring_qp, r->out.wr);
}

static int keep_rest(rm_rdma *r, const rm_parcel *rest, unsigned count) {
  memmove(r->out.rest, rest, count * sizeof *rest);
  r->out.rest_count = count;
  return count ? -EAGAIN : 0;
}

/* Work requests that wait for more: the next send or resume rings for them. */
static bool may_hold_back(rm_rdma *r, const rm_parcel *last) {
  return last->kind == RM_PARCEL_BULK && last->more && r->out.wr_count < RM_RDMA_CORK;
}

/* Behind parcels that are stuck, since the peer may be stuck too and wait for just that. */
static void tell_what_is_due(rm_rdma *r) {
  static const rm_parcel credit = {.kind = RM_PARCEL_CREDIT};
  if (rm_load(&r->base.due) && has_room(r, &credit)) add_parcel(r, &credit);
}

static int send_parcels(rm_rdma *r, const rm_parcel *parcels, unsigned count) {
  unsigned i = 0;
  uint32_t turn = rm_load_ordered(&r->turn);
  uint64_t bytes = 0;
  int error = 0;
  if (rm_unlikely(rm_load(&r->stopping) || rm_load(&r->failed))) return -EPIPE;
  while (i < count && !error) {
    error = has_room(r, &parcels[i]) ? add_parcel(r, &parcels[i]) : -EAGAIN;
    if (!error) bytes += parcels[i++].n;
  }
  if (error == -EAGAIN) tell_what_is_due(r);
  rm_count(&r->base.bytes_sent, bytes);
  r->base.corked = !error && count && may_hold_back(r, &parcels[count - 1]);
  int posted = r->base.corked ? 0 : ring_doorbell(r);
  if (posted || (error && error != -EAGAIN)) return posted ? posted : error;
  if (error) rm_store_ordered(&r->stuck_turn, turn);
  return keep_rest(r, parcels + i, count - i);
}

int rm_rdma_send(rm_link *link, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  rm_rdma *r = (rm_rdma *)link;
  r->out.credit = credit;
  return send_parcels(r, parcels, count);
}

int rm_rdma_resume(rm_link *link) {
  rm_rdma *r = (rm_rdma *)link;
  return send_parcels(r, r->out.rest, r->out.rest_count);
}
