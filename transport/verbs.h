/* verbs.h: libibverbs, opened at run time: a machine without it has all carriers but rdma.
 * Must not know: what is sent. */
#ifndef REMORA_VERBS_H
#define REMORA_VERBS_H

#include <stddef.h>

#include "verbs_abi.h"

typedef struct rm_verbs {
  struct ibv_device **(*get_device_list)(int *count);
  void (*free_device_list)(struct ibv_device **list);
  const char *(*get_device_name)(struct ibv_device *device);
  struct ibv_context *(*open_device)(struct ibv_device *device);
  int (*close_device)(struct ibv_context *context);
  int (*query_device)(struct ibv_context *context, struct ibv_device_attr *out);
  int (*query_port)(struct ibv_context *context, uint8_t port, struct ibv_port_attr *out);
  int (*query_gid)(struct ibv_context *context, uint8_t port, int index, ibv_gid *out);
  struct ibv_pd *(*alloc_pd)(struct ibv_context *context);
  int (*dealloc_pd)(struct ibv_pd *pd);
  struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *at, size_t bytes, int access);
  int (*dereg_mr)(struct ibv_mr *mr);
  /* NULL: the library is older than version 34. iova: the address that requests name offset by. */
  struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
                                  int fd, int access);
  struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *context);
  int (*destroy_comp_channel)(struct ibv_comp_channel *channel);
  struct ibv_cq *(*create_cq)(struct ibv_context *context, int entries, void *user,
                              struct ibv_comp_channel *channel, int vector);
  int (*destroy_cq)(struct ibv_cq *cq);
  int (*get_cq_event)(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **user);
  void (*ack_cq_events)(struct ibv_cq *cq, unsigned int count);
  struct ibv_qp *(*create_qp)(struct ibv_pd *pd, struct ibv_qp_init_attr *how);
  int (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *to, int mask);
  int (*destroy_qp)(struct ibv_qp *qp);
  const char *(*wc_status_str)(int status);
  int (*fork_init)(void);
} rm_verbs;

/* The library, opened once for the process; NULL with *why in words where it can't be. */
const rm_verbs *rm_verbs_open(const char **why);

static inline int rm_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc) {
  return cq->context->ops.poll_cq(cq, count, wc);
}
static inline int rm_notify_cq(struct ibv_cq *cq, int solicited_only) {
  return cq->context->ops.req_notify_cq(cq, solicited_only);
}
static inline int rm_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr) {
  struct ibv_send_wr *bad;
  return qp->context->ops.post_send(qp, wr, &bad);
}
static inline int rm_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr) {
  struct ibv_recv_wr *bad;
  return qp->context->ops.post_recv(qp, wr, &bad);
}

#endif
