/* cost.c: what the rdma data path costs the CPU, the device aside: the link over a FAKE device that
 * does nothing, whose verbs only count. `cost CALLS BATCH`: calls are put into the ring and sent in
 * batches; then as many notices of records are taken in. Prints nanoseconds of CPU time for each.
 * The fake stands for a NIC that is infinitely fast; it shows no latency and moves no byte. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bench.h"
#include "transport/internal.h"
#include "transport/rdma.h"

enum { RING = 4 << 20, BODY = 8, CALL = sizeof(rm_record) + BODY };

static uint64_t doorbells, requests, signalled;
static uint64_t last_signalled; /* wr_id that the next poll completes */
static uint32_t to_come, came;  /* immediates for the receiving side */

/* ---- the fake device */

static int fake_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad) {
  (void)qp, (void)bad;
  doorbells++;
  for (; wr; wr = wr->next) {
    requests++;
    if (wr->send_flags & IBV_SEND_SIGNALED) signalled++, last_signalled = wr->wr_id;
  }
  return 0;
}

static int fake_receive(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad) {
  (void)qp, (void)wr, (void)bad;
  return 0;
}

static int fake_notify(struct ibv_cq *cq, int solicited_only) {
  (void)cq, (void)solicited_only;
  return 0;
}

static struct ibv_cq out_cq, in_cq;

static int fake_poll(struct ibv_cq *cq, int count, struct ibv_wc *wc) {
  if (cq == &out_cq) {
    if (!last_signalled) return 0;
    *wc = (struct ibv_wc){.wr_id = last_signalled};
    last_signalled = 0;
    return 1;
  }
  int n = 0;
  for (; n < count && came < to_come; n++, came++) {
    rm_brief brief = {.n = CALL};
    wc[n] = (struct ibv_wc){.opcode = IBV_WC_RECV_RDMA_WITH_IMM,
                            .byte_len = CALL,
                            .imm_data = htonl(rm_imm_records(came, &brief))};
  }
  return n;
}

static struct ibv_context context = {.ops = {.poll_cq = fake_poll,
                                             .req_notify_cq = fake_notify,
                                             .post_send = fake_send,
                                             .post_recv = fake_receive}};

/* ---- a channel over it */

static uint64_t taken;

static void on_record(void *user, const rm_record *record) {
  (void)user, (void)record;
  taken++;
}

static rm_rdma *make_link(int fd) {
  static struct ibv_mr mr;
  static struct ibv_qp ring = {.context = &context}, bulk = {.context = &context};
  rm_rdma *r = calloc(1, sizeof *r);
  uint8_t *memory = bench_touched(4 * (size_t)RING);
  out_cq.context = in_cq.context = &context;
  r->base.ops = &rm_rdma_ops;
  r->base.send_ring = memory;
  r->landing = memory + RING;
  r->box_out = memory + 2 * (size_t)RING;
  r->box_in = memory + 3 * (size_t)RING;
  r->fd = fd;
  r->mine.ring_bytes = r->theirs.ring_bytes = RING;
  r->mine.receives = r->theirs.receives = RM_RDMA_RECEIVES;
  r->inline_max = RM_RDMA_INLINE;
  r->depth = 2 * RM_RDMA_RECEIVES;
  r->out_cq = &out_cq;
  r->in_cq = &in_cq;
  r->ring_qp = &ring;
  r->bulk_qp = &bulk;
  r->own_mr = r->peer_mr = &mr;
  return r;
}

/* The peer is infinitely fast too: it has taken in and given free all that was sent. */
static void give_credit(rm_channel *ch, rm_rdma *r) {
  rm_store(&ch->acked, ch->tx.sent);
  rm_store(&r->peer_taken, r->out.count);
  r->in.credit.ring = (uint32_t)ch->tx.sent;
}

static double post_calls(rm_channel *ch, rm_rdma *r, uint64_t calls, uint32_t batch) {
  uint64_t start = bench_thread_cpu_ns();
  for (uint64_t i = 0; i < calls; i += batch) {
    for (uint32_t k = 0; k < batch; k++) {
      rm_record *record = rm_begin(ch, CALL);
      record->op = RM_OP_FIRST_CALL;
      rm_commit(ch);
    }
    rm_flush(ch);
    give_credit(ch, r);
  }
  return (double)(bench_thread_cpu_ns() - start) / (double)calls;
}

static void fill_landing(rm_rdma *r) {
  for (size_t at = 0; at + CALL <= RING; at += CALL)
    *(rm_record *)(r->landing + at) = (rm_record){.op = RM_OP_FIRST_CALL, .size = CALL};
}

/* As many as the ring holds: what is measured is the taking in. */
static double take_calls(rm_channel *ch, uint64_t calls) {
  if (calls > RING / CALL - 64) calls = RING / CALL - 64;
  uint64_t start = bench_thread_cpu_ns();
  const char *why;
  while (taken < calls) {
    to_come += 16;
    rm_poll(ch);
    if (rm_channel_error(ch, &why)) bench_fail("%s", why);
  }
  return (double)(bench_thread_cpu_ns() - start) / (double)taken;
}

int main(int argc, char **argv) {
  int ends[2];
  if (argc != 3 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) bench_fail("cost CALLS BATCH");
  uint64_t calls = bench_number(argv[1]);
  uint32_t batch = (uint32_t)bench_number(argv[2]);
  const rm_events events = {.on_record = on_record};
  rm_rdma *r = make_link(ends[0]);
  fill_landing(r);
  rm_channel *ch = rm_channel_over(&r->base, NULL, &events, NULL);
  if (!ch || !batch) bench_fail("no channel");
  post_calls(ch, r, calls / 10 + batch, batch);
  doorbells = requests = signalled = 0;
  double posted = post_calls(ch, r, calls, batch);
  uint64_t batches = (calls + batch - 1) / batch;
  printf("posted_ns=%.1f doorbells_per_batch=%.3f requests_per_signal=%.1f ", posted,
         (double)doorbells / (double)batches,
         (double)requests / (double)(signalled ? signalled : 1));
  printf("taken_ns=%.1f\n", take_calls(ch, calls));
  return 0;
}
