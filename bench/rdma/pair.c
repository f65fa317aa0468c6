/* pair.c: see pair.h. */
#include "pair.h"

#include <arpa/inet.h>
#include <sched.h>
#include <string.h>

#include "bench.h"

enum { DEPTH = 256, RECEIVES = 256, SIGNAL = 64, PLACE = 4096, UNDER_WAY = 2 };
enum { STREAM = BENCH_PAIR_STREAM };

/* ---- opening */

/* The GID of an IPv4 address, or the last that there is. */
static int find_gid(bench_pair *p) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  int found = 0;
  for (int i = 0; i < 16; i++) {
    ibv_gid gid;
    if (p->verbs->query_gid(p->context, 1, i, &gid)) break;
    if (!memcmp(gid.raw, mapped, sizeof mapped)) found = i;
  }
  p->verbs->query_gid(p->context, 1, found, &p->mine.gid);
  return found;
}

static void open_device(bench_pair *p) {
  const char *why;
  int count = 0;
  if (!(p->verbs = rm_verbs_open(&why))) bench_fail("%s", why);
  struct ibv_device **devices = p->verbs->get_device_list(&count);
  if (!devices || !count) bench_fail("no RDMA device");
  p->context = p->verbs->open_device(devices[0]);
  p->verbs->free_device_list(devices);
  if (!p->context) bench_fail("the RDMA device cannot be opened");
  p->gid_index = find_gid(p);
}

static void post_receive(bench_pair *p) {
  struct ibv_recv_wr wr = {0};
  if (rm_post_recv(p->qp, &wr)) bench_fail("post_recv");
}

void bench_pair_open(bench_pair *p, void *memory, size_t bytes) {
  const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  open_device(p);
  p->memory = memory;
  p->bytes = bytes;
  p->pd = p->verbs->alloc_pd(p->context);
  p->out = p->verbs->create_cq(p->context, DEPTH, NULL, NULL, 0);
  p->in = p->verbs->create_cq(p->context, RECEIVES, NULL, NULL, 0);
  p->mr = p->verbs->reg_mr(p->pd, memory, bytes, access);
  struct ibv_qp_init_attr how = {.send_cq = p->out,
                                 .recv_cq = p->in,
                                 .qp_type = IBV_QPT_RC,
                                 .cap = {DEPTH, RECEIVES, 1, 1, 64}};
  p->qp = p->verbs->create_qp(p->pd, &how);
  if (!p->mr || !p->qp) bench_fail("no memory region or no queue pair");
  p->inline_max = how.cap.max_inline_data;
  struct ibv_qp_attr to = {
      .qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = (unsigned)access};
  if (p->verbs->modify_qp(p->qp, &to,
                          IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
    bench_fail("INIT");
  for (int i = 0; i < RECEIVES; i++) post_receive(p);
  p->mine.qp = p->qp->qp_num;
  p->mine.key = p->mr->rkey;
  p->mine.at = (uintptr_t)memory;
  p->mine.psn = p->qp->qp_num * 7 & 0xffffff;
}

void bench_pair_connect(bench_pair *p, const bench_end *theirs) {
  p->theirs = *theirs;
  struct ibv_qp_attr to = {
      .qp_state = IBV_QPS_RTR,
      .path_mtu = 5,
      .dest_qp_num = theirs->qp,
      .rq_psn = theirs->psn,
      .max_dest_rd_atomic = 16,
      .min_rnr_timer = 12,
      .ah_attr = {
          .grh = {.dgid = theirs->gid, .sgid_index = (uint8_t)p->gid_index, .hop_limit = 64},
          .is_global = 1,
          .port_num = 1}};
  if (p->verbs->modify_qp(p->qp, &to,
                          IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                              IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
    bench_fail("RTR");
  struct ibv_qp_attr go = {.qp_state = IBV_QPS_RTS,
                           .sq_psn = p->mine.psn,
                           .timeout = 14,
                           .retry_cnt = 6,
                           .rnr_retry = 6,
                           .max_rd_atomic = 16};
  if (p->verbs->modify_qp(p->qp, &go,
                          IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                              IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC))
    bench_fail("RTS");
}

/* ---- moving */

static int poll(bench_pair *p, struct ibv_cq *cq) {
  struct ibv_wc wc[16];
  int n = rm_poll_cq(cq, 16, wc);
  for (int i = 0; i < n; i++)
    if (wc[i].status) bench_fail("work request: %s", p->verbs->wc_status_str(wc[i].status));
  return n;
}

static void post(bench_pair *p, int opcode, size_t from, uint32_t n, size_t to, int signalled) {
  struct ibv_sge sge = {p->mine.at + from, n, p->mr->lkey};
  struct ibv_send_wr wr = {.sg_list = &sge,
                           .num_sge = 1,
                           .opcode = opcode,
                           .imm_data = htonl(1),
                           .rdma = {p->theirs.at + to, p->theirs.key}};
  if (opcode != IBV_WR_RDMA_READ && n <= p->inline_max) wr.send_flags = IBV_SEND_INLINE;
  if (signalled || ++p->sent % SIGNAL == 0) wr.send_flags |= IBV_SEND_SIGNALED;
  if (rm_post_send(p->qp, &wr)) bench_fail("post_send");
  if (p->sent % SIGNAL == SIGNAL - 1) poll(p, p->out);
}

/* Bytes go from place 0 to place 1 of the peer; the last one tells that all are there. */
static void send_turn(bench_pair *p, uint32_t n, uint8_t turn) {
  p->memory[n - 1] = turn;
  post(p, IBV_WR_RDMA_WRITE, 0, n, PLACE, 0);
}

static void await_turn(bench_pair *p, uint32_t n, uint8_t turn) {
  while (p->memory[PLACE + n - 1] != turn) sched_yield();
}

void bench_pair_write(bench_pair *p, uint32_t n, uint32_t count, int begins) {
  for (uint32_t i = 0; i < count; i++) {
    uint8_t turn = (uint8_t)(i % 250 + 1);
    if (begins) send_turn(p, n, turn);
    await_turn(p, n, turn);
    if (!begins) send_turn(p, n, turn);
  }
  p->memory[PLACE + n - 1] = 0; /* the next run begins with 1 again */
}

static void await_imm(bench_pair *p) {
  while (!poll(p, p->in)) sched_yield();
  post_receive(p);
}

void bench_pair_imm(bench_pair *p, uint32_t n, uint32_t count, int begins) {
  for (uint32_t i = 0; i < count; i++) {
    if (begins) post(p, IBV_WR_RDMA_WRITE_WITH_IMM, 0, n, PLACE, 0);
    await_imm(p);
    if (!begins) post(p, IBV_WR_RDMA_WRITE_WITH_IMM, 0, n, PLACE, 0);
  }
}

void bench_pair_stream(bench_pair *p, int opcode, size_t n, uint32_t chunk) {
  int under_way = 0, seen;
  while (poll(p, p->out)) {
  }
  for (size_t at = 0; at < n || under_way; under_way -= seen) {
    for (; at < n && under_way < UNDER_WAY; at += chunk, under_way++)
      post(p, opcode, STREAM + at, n - at < chunk ? (uint32_t)(n - at) : chunk, STREAM + at, 1);
    if (!(seen = poll(p, p->out))) sched_yield();
  }
}
