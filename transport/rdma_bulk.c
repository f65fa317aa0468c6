/* rdma_bulk.c: bulk messages. The smallest lie in their notice, small ones in
 * their place of the box; larger ones are announced with the address at which
 * they lie, and the receiver reads them straight to where they go. So no side
 * ever writes into another's memory beyond its ring and box, and who receives
 * says where to: device memory, pinned memory, or a piece of staging. Memory
 * that is not registered passes through pieces that are. Must not know: what
 * the messages are. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "internal.h"
#include "rdma.h"

/* ---- out */

static void out_in_notice(rm_rdma *r, const rm_parcel *parcel) {
  rm_notice *notice = rm_rdma_notice(r, RM_NOTICE_BULK);
  notice->n = (uint32_t)parcel->n;
  notice->tag = parcel->tag;
  if (parcel->n) memcpy(notice->bytes, parcel->bytes, parcel->n);
  rm_count(&r->base.bulk_copied, parcel->n);
  rm_rdma_add_notice(r, notice->n);
}

static void out_boxed(rm_rdma *r, const rm_parcel *parcel) {
  unsigned kind = parcel->tag != 0;
  uint64_t place = rm_box_place(kind, r->out.bulks[kind], r->theirs.receives, r->theirs.window,
                                r->theirs.box_slot);
  memcpy(r->box_out + place, parcel->bytes, parcel->n);
  rm_count(&r->base.bulk_copied, parcel->n);
  rm_rdma_add_write(r, r->box_out + place, (uint32_t)parcel->n, r->theirs.box_at + place,
                    r->theirs.box_key);
  rm_notice *notice = rm_rdma_notice(r, RM_NOTICE_BOXED);
  notice->n = (uint32_t)parcel->n;
  notice->tag = parcel->tag;
  rm_rdma_add_notice(r, 0);
}

static int out_announced(rm_rdma *r, const rm_parcel *parcel) {
  const void *at = parcel->bytes;
  if (r->out.announced - rm_load(&r->peer_fetched) >= RM_RDMA_LENT) return -EAGAIN;
  rm_region *region = rm_rdma_use(r, at, parcel->n, false);
  if (!region) {
    uint8_t *stage;
    int error = rm_rdma_stage_out(r, &stage);
    if (error) return error;
    memcpy(stage, at, parcel->n);
    at = stage;
  }
  rm_count(region ? &r->base.bulk_direct : &r->base.bulk_copied, parcel->n);
  rm_store(&r->out.lent[r->out.announced % RM_RDMA_LENT], region);
  rm_store(&r->out.announced, r->out.announced + 1);
  r->out.announced_all++;
  if (region) rm_store_ordered(&r->base.lent, r->out.announced_all);
  rm_notice *notice = rm_rdma_notice(r, RM_NOTICE_READ);
  notice->n = (uint32_t)parcel->n;
  notice->tag = parcel->tag;
  notice->at = (uintptr_t)at;
  notice->key = region ? region->rkey : r->out.stage.mr->rkey;
  notice->flags = region ? 0 : RM_NOTICE_PROMPT;
  rm_rdma_add_notice(r, 0);
  return 0;
}

int rm_rdma_bulk_out(rm_rdma *r, const rm_parcel *parcel) {
  int error = 0;
  if (parcel->n <= RM_NOTICE_BYTES)
    out_in_notice(r, parcel);
  else if (parcel->n <= r->theirs.box_slot)
    out_boxed(r, parcel);
  else
    error = out_announced(r, parcel);
  if (!error) r->out.bulks[parcel->tag != 0]++;
  return error;
}

/* ---- in: read from the peer */

/* A completion is asked for with the last of a batch, now and then in a long one, and for each that
 * is staged: its piece is waited for. */
static void add_read(rm_rdma *r, const rm_notice *notice, void *to, uint32_t key, bool staged) {
  unsigned i = r->in.read_count++;
  struct ibv_send_wr *wr = &r->in.read_wr[i];
  r->in.read_sge[i] = (struct ibv_sge){(uintptr_t)to, notice->n, key};
  *wr = (struct ibv_send_wr){.wr_id = r->reads_posted,
                             .sg_list = &r->in.read_sge[i],
                             .num_sge = 1,
                             .opcode = IBV_WR_RDMA_READ,
                             .rdma = {notice->at, notice->key}};
  if (staged || i % RM_RDMA_TELL == RM_RDMA_TELL - 1) wr->send_flags = IBV_SEND_SIGNALED;
  if (i) r->in.read_wr[i - 1].next = wr;
  rm_store(&r->reads_posted, r->reads_posted + 1);
}

/* A device that takes no reads any more has failed, which the poll will say. */
void rm_rdma_post_reads(rm_rdma *r) {
  if (!r->in.read_count) return;
  r->in.read_wr[r->in.read_count - 1].send_flags = IBV_SEND_SIGNALED;
  r->in.read_count = 0;
  if (rm_post_send(r->bulk_qp, r->in.read_wr)) rm_store_ordered(&r->failed, IBV_WC_WR_FLUSH_ERR);
}

/* A pair in the state of an error takes and sends nothing more and gives its requests back in
 * order, this last one behind all that could still land. */
void rm_rdma_end_reads(rm_rdma *r) {
  struct ibv_qp_attr failed = {.qp_state = IBV_QPS_ERR};
  struct ibv_send_wr last = {
      .wr_id = RM_RDMA_LAST, .opcode = IBV_WR_RDMA_WRITE, .send_flags = IBV_SEND_SIGNALED};
  uint64_t end_ms = rm_now_ms() + RM_RDMA_DRAIN_MS;
  if (r->verbs->modify_qp(r->bulk_qp, &failed, IBV_QP_STATE) || rm_post_send(r->bulk_qp, &last))
    return;
  while (!rm_load(&r->drained) && rm_now_ms() < end_ms) {
    rm_rdma_pump(r);
    if (!rm_load(&r->drained)) sched_yield();
  }
}

/* 1, 0 or -1. */
static int start_read(rm_rdma *r, rm_channel *ch, const rm_notice *notice) {
  rm_region *region = rm_rdma_use(r, r->in.where, notice->n, true);
  uint8_t *stage = NULL;
  int error = region ? 0 : rm_rdma_stage_in(r, &stage);
  if (error == -EAGAIN) return 0;
  if (error) return rm_fail_link(ch, error), -1;
  rm_count(region ? &r->base.bulk_direct : &r->base.bulk_copied, notice->n);
  r->in.reads[r->reads_posted % RM_RDMA_READS] =
      (rm_rdma_read){r->in.where, notice->n, stage, region, notice->flags & RM_NOTICE_PROMPT};
  r->in.begun = false;
  add_read(r, notice, region ? r->in.where : stage, region ? region->lkey : r->in.stage.mr->lkey,
           stage);
  return 1;
}

static int in_announced(rm_rdma *r, rm_channel *ch, const rm_notice *notice) {
  uint32_t most = r->mine.reads < r->theirs.reads ? r->mine.reads : r->theirs.reads;
  if (notice->n <= RM_NOTICE_BYTES)
    return rm_in_broken(ch, "announcement of %u bytes", notice->n) - 1;
  if (r->reads_posted - r->reads_landed >= most) return 0;
  if (!r->in.begun && !rm_in_bulk(ch, notice->tag, notice->n, &r->in.where)) return -1;
  r->in.begun = true;
  return start_read(r, ch, notice);
}

/* The sender is told when it waits to hear it, at the end, and now and then. */
static bool worth_telling(rm_rdma *r, bool prompt) {
  uint32_t untold = r->fetched - rm_load(&r->out.told_fetched);
  bool last = prompt || r->reads_posted == r->reads_landed;
  return untold >= (last ? 1 : RM_RDMA_TELL);
}

long rm_rdma_land(rm_rdma *r, rm_channel *ch) {
  bool works = true, prompt = false;
  long bytes = 0;
  uint64_t landed = r->reads_landed;
  if (landed == rm_load(&r->in.reads_done)) return 0;
  while (works && landed != rm_load(&r->in.reads_done)) {
    rm_rdma_read *read = &r->in.reads[landed++ % RM_RDMA_READS];
    if (read->staged) {
      memcpy(read->where, read->staged, read->n);
      r->in.stage_done++;
    }
    rm_rdma_used(read->region);
    rm_store_ordered(&r->fetched, r->fetched + 1);
    rm_store_ordered(&r->reads_landed, landed);
    bytes += read->n;
    prompt |= read->prompt;
    works = rm_in_bulk_landed(ch);
  }
  if (worth_telling(r, prompt)) rm_rdma_tell(r, ch);
  return works ? bytes : -1;
}

/* ---- in: lies here */

/* Behind messages that are still being read it waits: they land in order. */
static int in_here(rm_rdma *r, rm_channel *ch, const rm_notice *notice, const void *from) {
  void *where;
  if (r->reads_posted != r->reads_landed) return 0;
  if (!rm_in_bulk(ch, notice->tag, notice->n, &where)) return -1;
  if (notice->n) memcpy(where, from, notice->n);
  rm_count(&r->base.bulk_copied, notice->n);
  return rm_in_bulk_landed(ch) ? 1 : -1;
}

static int in_boxed(rm_rdma *r, rm_channel *ch, const rm_notice *notice) {
  unsigned kind = notice->tag != 0;
  if (notice->n > r->mine.box_slot)
    return rm_in_broken(ch, "boxed message of %u bytes", notice->n) - 1;
  return in_here(r, ch, notice,
                 r->box_in + rm_box_place(kind, r->in.bulks[kind], r->mine.receives, r->mine.window,
                                          r->mine.box_slot));
}

int rm_rdma_bulk_in(rm_rdma *r, rm_channel *ch, const rm_notice *notice) {
  int done = notice->kind == RM_NOTICE_BULK    ? in_here(r, ch, notice, notice->bytes)
             : notice->kind == RM_NOTICE_BOXED ? in_boxed(r, ch, notice)
                                               : in_announced(r, ch, notice);
  if (done > 0) r->in.bulks[notice->tag != 0]++;
  return done;
}
