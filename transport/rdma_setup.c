/* rdma_setup.c: the rdma carrier: making one end's pairs and memory, telling
 * the other, connecting, freeing. Cold. Must not know: what will be sent. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "internal.h"
#include "rdma.h"

/* ---- memory: one mapping that only this side writes, one that the peer writes
 */

uint8_t *rm_rdma_map(size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

/* The two boxes have the same size: a place in the peer's box has a copy here,
 * sent from there. */
static bool make_memory(rm_rdma *r, rm_carrying *c) {
  const rm_rdma_end *m = &r->mine;
  size_t box = (rm_box_bytes(m->receives, m->window, m->box_slot) + 4095) & ~(size_t)4095;
  r->own_bytes = r->peer_bytes = m->ring_bytes + box;
  uint8_t *own = rm_rdma_map(r->own_bytes), *peer = rm_rdma_map(r->peer_bytes);
  r->base.send_ring = own;
  r->base.ring_bytes = m->ring_bytes;
  r->landing = peer;
  if (!own || !peer) return rm_carrying_failed(c, "out of memory");
  r->box_out = own + m->ring_bytes;
  r->box_in = peer + m->ring_bytes;
  r->own_mr = r->verbs->reg_mr(r->pd, own, r->own_bytes, 0);
  if (r->own_mr)
    r->peer_mr = r->verbs->reg_mr(r->pd, peer, r->peer_bytes,
                                  IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  int error = r->peer_mr ? rm_rdma_make_stages(r) : -errno;
  if (!error) return true;
  return rm_carrying_failed(c,
                            "memory for rings and staging could not be locked: %s; raise "
                            "the limit (ulimit -l, or LimitMEMLOCK)",
                            strerror(-error));
}

/* ---- queue pairs */

static struct ibv_qp *make_pair(rm_rdma *r, struct ibv_cq *sends, uint32_t depth, uint32_t receives,
                                uint32_t *inline_bytes, int access) {
  struct ibv_qp_init_attr how = {.send_cq = sends,
                                 .recv_cq = r->in_cq,
                                 .qp_type = IBV_QPT_RC,
                                 .cap = {depth, receives, 1, 1, *inline_bytes}};
  struct ibv_qp *qp = r->verbs->create_qp(r->pd, &how);
  if (!qp && *inline_bytes) { /* a device that has less room inside a request */
    how.cap.max_inline_data = *inline_bytes = 0;
    qp = r->verbs->create_qp(r->pd, &how);
  }
  if (!qp) return NULL;
  if (how.cap.max_inline_data < *inline_bytes) *inline_bytes = how.cap.max_inline_data;
  struct ibv_qp_attr to = {
      .qp_state = IBV_QPS_INIT, .port_num = r->port, .qp_access_flags = (unsigned)access};
  int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  if (!r->verbs->modify_qp(qp, &to, mask)) return qp;
  r->verbs->destroy_qp(qp);
  return NULL;
}

static bool make_queues(rm_rdma *r) {
  const rm_verbs *v = r->verbs;
  r->depth = RM_RDMA_DEPTH;
  r->inline_max = RM_RDMA_INLINE;
  uint32_t none = 0;
  if (!(r->pd = v->alloc_pd(r->context)) || !(r->events = v->create_comp_channel(r->context)))
    return false;
  fcntl(r->events->fd, F_SETFL, fcntl(r->events->fd, F_GETFL) | O_NONBLOCK);
  r->out_cq = v->create_cq(r->context, (int)r->depth + 1, NULL, NULL, 0);
  r->in_cq = v->create_cq(r->context, RM_RDMA_RECEIVES + RM_RDMA_READS + 1, NULL, r->events, 0);
  if (!r->out_cq || !r->in_cq) return false;
  r->ring_qp =
      make_pair(r, r->out_cq, r->depth, RM_RDMA_RECEIVES, &r->inline_max, IBV_ACCESS_REMOTE_WRITE);
  r->bulk_qp = make_pair(r, r->in_cq, RM_RDMA_READS + 1, 1, &none, IBV_ACCESS_REMOTE_READ);
  return r->ring_qp && r->bulk_qp;
}

static bool post_receives(rm_rdma *r) {
  for (uint32_t i = 0; i + 1 < RM_RDMA_REPOST; i++) r->in.receives[i].next = &r->in.receives[i + 1];
  return rm_rdma_receives(r, RM_RDMA_RECEIVES);
}

static int to_receiving(rm_rdma *r, struct ibv_qp *qp, uint32_t peer_qp, uint32_t psn) {
  const rm_rdma_end *t = &r->theirs;
  struct ibv_qp_attr to = {.qp_state = IBV_QPS_RTR,
                           .path_mtu = t->mtu < r->mine.mtu ? t->mtu : r->mine.mtu,
                           .dest_qp_num = peer_qp,
                           .rq_psn = psn,
                           .max_dest_rd_atomic = (uint8_t)r->mine.reads,
                           .min_rnr_timer = 12,
                           .ah_attr = {.grh = {.sgid_index = r->gid_index, .hop_limit = 64},
                                       .dlid = t->lid,
                                       .is_global = 1,
                                       .port_num = r->port}};
  memcpy(to.ah_attr.grh.dgid.raw, t->gid, 16);
  return r->verbs->modify_qp(qp, &to,
                             IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                 IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

static int to_sending(rm_rdma *r, struct ibv_qp *qp, uint32_t psn) {
  uint32_t reads = r->theirs.reads < r->mine.reads ? r->theirs.reads : r->mine.reads;
  struct ibv_qp_attr to = {.qp_state = IBV_QPS_RTS,
                           .sq_psn = psn,
                           .timeout = RM_RDMA_TIMEOUT,
                           .retry_cnt = RM_RDMA_RETRIES,
                           .rnr_retry = RM_RDMA_RETRIES,
                           .max_rd_atomic = (uint8_t)reads};
  return r->verbs->modify_qp(qp, &to,
                             IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                 IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC);
}

static bool connect_pairs(rm_rdma *r, rm_carrying *c) {
  if (to_receiving(r, r->ring_qp, r->theirs.ring_qp, r->theirs.ring_psn) ||
      to_receiving(r, r->bulk_qp, r->theirs.bulk_qp, r->theirs.bulk_psn) ||
      to_sending(r, r->ring_qp, r->mine.ring_psn) || to_sending(r, r->bulk_qp, r->mine.bulk_psn))
    return rm_carrying_failed(c, "the RDMA device cannot reach the peer's: %s", strerror(errno));
  return true;
}

/* ---- one end */

static void set_terms(rm_rdma *r, const rm_carrying *c) {
  rm_rdma_end *m = &r->mine;
  m->ring_bytes = c->terms.ring_bytes ? c->terms.ring_bytes : RM_RDMA_RING_BYTES;
  if (m->ring_bytes > RM_RDMA_RING_BYTES) m->ring_bytes = RM_RDMA_RING_BYTES;
  m->window = c->terms.bulk_window ? c->terms.bulk_window : RM_BULK_WINDOW;
  m->receives = RM_RDMA_RECEIVES;
  m->box_slot = RM_RDMA_BOX_SLOT;
}

static uint32_t random_psn(void) {
  uint32_t psn = 0;
  if (getrandom(&psn, sizeof psn, GRND_NONBLOCK) < 0) psn = (uint32_t)rm_now_us();
  return psn & 0xffffff;
}

static bool make_end(rm_rdma *r, rm_carrying *c) {
  set_terms(r, c);
  if (!make_queues(r) || !post_receives(r))
    return rm_carrying_failed(c, "queues could not be made on the RDMA device: %s",
                              strerror(errno));
  if (!make_memory(r, c)) return false;
  rm_rdma_end *m = &r->mine;
  m->ring_qp = r->ring_qp->qp_num;
  m->bulk_qp = r->bulk_qp->qp_num;
  m->ring_psn = random_psn();
  m->bulk_psn = random_psn();
  m->ring_at = (uintptr_t)r->landing;
  m->box_at = (uintptr_t)r->box_in;
  m->ring_key = m->box_key = r->peer_mr->rkey;
  return true;
}

static void say(const rm_rdma *r, rm_blob *blob) {
  blob->n = sizeof r->mine;
  memcpy(blob->bytes, &r->mine, sizeof r->mine);
}

/* whole: not only a port. */
static bool hear(rm_rdma *r, rm_carrying *c, const rm_blob *blob, bool whole) {
  rm_rdma_end *t = &r->theirs;
  if (blob->n != sizeof *t)
    return rm_carrying_failed(c, "the peer's description has %u bytes", blob->n);
  memcpy(t, blob->bytes, sizeof *t);
  if (t->magic != RM_RDMA_MAGIC || t->version != RM_RDMA_VERSION)
    return rm_carrying_failed(c, "the peer speaks version %u over RDMA, this side %u", t->version,
                              RM_RDMA_VERSION);
  if (t->mtu < 1 || t->mtu > 5) return rm_carrying_failed(c, "the peer's MTU makes no sense");
  if (!whole) return true;
  if (t->ring_bytes != r->mine.ring_bytes || t->window != r->mine.window ||
      t->receives != r->mine.receives || t->box_slot != r->mine.box_slot || !t->reads)
    return rm_carrying_failed(c, "the peer's rings and boxes differ from this side's");
  return true;
}

/* ---- the carrier's steps, see carrier.h */

static rm_rdma *begin(rm_carrying *c) {
  const char *why;
  const rm_verbs *verbs = rm_verbs_open(&why);
  rm_rdma *r = verbs ? calloc(1, sizeof *r) : NULL;
  if (!r) return rm_carrying_failed(c, "%s", verbs ? "out of memory" : why), NULL;
  r->base.ops = &rm_rdma_ops;
  r->verbs = verbs;
  r->fd = -1;
  r->mine.magic = RM_RDMA_MAGIC;
  r->mine.version = RM_RDMA_VERSION;
  pthread_mutex_init(&r->region_lock, NULL);
  c->state = r;
  return rm_rdma_find_port(r, c) ? r : NULL;
}

static bool rdma_offer(rm_carrying *c, rm_blob *mine) {
  rm_rdma *r = begin(c);
  if (r) say(r, mine);
  return r;
}

static bool rdma_prepare(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) {
  rm_rdma *r = begin(c);
  if (!r || !hear(r, c, theirs, false) || !make_end(r, c)) return false;
  say(r, mine);
  return true;
}

static bool rdma_accept(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) {
  rm_rdma *r = c->state;
  if (!make_end(r, c) || !hear(r, c, theirs, true) || !connect_pairs(r, c)) return false;
  say(r, mine);
  return true;
}

static bool rdma_connect(rm_carrying *c, const rm_blob *theirs) {
  rm_rdma *r = c->state;
  return hear(r, c, theirs, true) && connect_pairs(r, c);
}

static rm_link *rdma_link(rm_carrying *c) {
  rm_rdma *r = c->state;
  r->fd = c->fd;
  fcntl(r->fd, F_SETFD, FD_CLOEXEC);
  c->state = NULL;
  return &r->base;
}

static void rdma_drop(rm_carrying *c) { rm_rdma_free(&((rm_rdma *)c->state)->base, false); }

const rm_carrier rm_carrier_rdma = {"rdma",       rdma_offer, rdma_prepare, rdma_accept,
                                    rdma_connect, rdma_link,  rdma_drop};

/* ---- the end */

/* A goodbye is not lost with the pair it is under way on. */
static void let_bye_arrive(rm_rdma *r) {
  uint64_t end_ms = rm_now_ms() + RM_RDMA_LINGER_MS;
  while (r->out.bye && r->out.wrs_done < r->out.wrs_signalled && !rm_load(&r->failed) &&
         !rm_load(&r->gone) && rm_now_ms() < end_ms) {
    rm_rdma_retire(r);
    sched_yield();
  }
}

static void free_device(rm_rdma *r) {
  const rm_verbs *v = r->verbs;
  if (r->ring_qp) v->destroy_qp(r->ring_qp);
  if (r->bulk_qp) v->destroy_qp(r->bulk_qp);
  if (r->in_cq) v->destroy_cq(r->in_cq);
  if (r->out_cq) v->destroy_cq(r->out_cq);
  if (r->events) v->destroy_comp_channel(r->events);
  rm_rdma_free_stages(r);
  if (r->own_mr) v->dereg_mr(r->own_mr);
  if (r->peer_mr) v->dereg_mr(r->peer_mr);
  rm_rdma_forget_memory(r);
  if (r->pd) v->dealloc_pd(r->pd);
  if (r->context) v->close_device(r->context);
}

/* The child's copies of the descriptors would keep the parent's pairs alive
 * after the parent. */
static void forget(rm_rdma *r) {
  if (r->events) close(r->events->fd);
  if (r->context) {
    close(r->context->cmd_fd);
    close(r->context->async_fd);
  }
  if (r->fd >= 0) close(r->fd);
}

void rm_rdma_free(rm_link *link, bool forked) {
  rm_rdma *r = (rm_rdma *)link;
  if (forked) {
    forget(r);
    return;
  }
  if (r->ring_qp) let_bye_arrive(r);
  free_device(r);
  if (r->fd >= 0) close(r->fd);
  if (r->base.send_ring) munmap(r->base.send_ring, r->own_bytes);
  if (r->landing) munmap(r->landing, r->peer_bytes);
  free(r);
}
