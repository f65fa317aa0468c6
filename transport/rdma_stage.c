/* rdma_stage.c: pieces of memory through which bulk messages pass whose own memory is
 * not registered. They are registered when the first message needs one, until the channel has been
 * silent for a while: a session that is idle, or whose memory is all registered, locks none. Where
 * the process may lock only so much they are registered at the start and stay, since the program's
 * own pinned memory may take all the rest. Their addresses are taken at the start in any case: a
 * program that maps memory anew where it was finds nothing in between.
 * Must not know: what the messages are. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "internal.h"
#include "rdma.h"

#define STAGE_BYTES ((size_t)RM_RDMA_STAGE * RM_BULK_MAX)

static bool locks_freely(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY;
}

/* The peer reads from the one that sends, and nothing but this side touches the other. */
static int lock(rm_rdma *r, rm_stage *stage) {
  int access = stage == &r->out.stage ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_LOCAL_WRITE;
  if (!stage->mr) stage->mr = r->verbs->reg_mr(r->pd, stage->at, STAGE_BYTES, access);
  return stage->mr ? 0 : -errno;
}

static void drop(rm_rdma *r, rm_stage *stage) {
  if (!stage->mr) return;
  r->verbs->dereg_mr(stage->mr);
  madvise(stage->at, STAGE_BYTES, MADV_DONTNEED);
  stage->mr = NULL;
}

int rm_rdma_make_stages(rm_rdma *r) {
  r->out.stage.at = rm_rdma_map(STAGE_BYTES);
  r->in.stage.at = rm_rdma_map(STAGE_BYTES);
  if (!r->out.stage.at || !r->in.stage.at) return -ENOMEM;
  if (locks_freely()) return 0;
  int error = lock(r, &r->out.stage);
  return error ? error : lock(r, &r->in.stage);
}

void rm_rdma_free_stages(rm_rdma *r) {
  rm_stage *stages[] = {&r->out.stage, &r->in.stage};
  for (int i = 0; i < 2; i++) {
    drop(r, stages[i]);
    if (stages[i]->at) munmap(stages[i]->at, STAGE_BYTES);
  }
}

static uint8_t *next(rm_stage *stage) {
  return stage->at + (size_t)(stage->taken++ % RM_RDMA_STAGE) * RM_BULK_MAX;
}

/* ---- out: a piece is free again once the peer has read as far as stage_until says */

static bool fetched(rm_rdma *r, uint32_t piece) {
  uint32_t now = rm_load(&r->peer_fetched);
  return now == r->out.announced || (int32_t)(now - r->out.stage_until[piece % RM_RDMA_STAGE]) >= 0;
}

int rm_rdma_stage_out(rm_rdma *r, uint8_t **at) {
  rm_stage *stage = &r->out.stage;
  if (!fetched(r, stage->taken)) return -EAGAIN;
  int error = lock(r, stage);
  if (error) return error;
  r->out.stage_until[stage->taken % RM_RDMA_STAGE] = r->out.announced + 1;
  *at = next(stage);
  return 0;
}

void rm_rdma_rest_out(rm_rdma *r) {
  rm_stage *stage = &r->out.stage;
  if (stage->mr && fetched(r, stage->taken - 1) && locks_freely()) drop(r, stage);
}

/* ---- in */

int rm_rdma_stage_in(rm_rdma *r, uint8_t **at) {
  rm_stage *stage = &r->in.stage;
  if (stage->taken - r->in.stage_done == RM_RDMA_STAGE) return -EAGAIN;
  int error = lock(r, stage);
  if (!error) *at = next(stage);
  return error;
}

void rm_rdma_rest_in(rm_rdma *r) {
  rm_stage *stage = &r->in.stage;
  if (stage->mr && stage->taken == r->in.stage_done && locks_freely()) drop(r, stage);
}
