/* The scheduler of one block in coroutine mode. It resumes each warp's lanes until all of them
   wait, completes warp operations and barriers whose participants have arrived, and goes on. A
   block that only yields (spin locks, grid barriers) is given back so that others get their turn.
 */
#define _GNU_SOURCE
#include "blocks.h"
#include "fault.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FRAME_ALIGN = 64, SHARED_ALIGN = 1024, SPIN_ROUNDS = 64 };

typedef void (*resume_function)(void *);

/* ---- memory of a block */

static __thread sg_block *spare;

static bool fit_threads(sg_block *b, uint32_t count) {
  if (b->thread_room >= count) return true;
  uint32_t warps = (count + SG_WARP - 1) / SG_WARP;
  free(b->threads);
  free(b->warps);
  b->threads = aligned_alloc(64, (size_t)warps * SG_WARP * sizeof *b->threads);
  b->warps = malloc(warps * sizeof *b->warps);
  b->thread_room = b->threads && b->warps ? warps * SG_WARP : 0;
  return b->thread_room;
}

static bool fit_shared(sg_block *b, size_t bytes) {
  bytes = (bytes + 16 + SHARED_ALIGN - 1) / SHARED_ALIGN * SHARED_ALIGN;
  if (b->shared_room >= bytes) return true;
  free(b->abi.shared);
  b->abi.shared = aligned_alloc(SHARED_ALIGN, bytes);
  b->shared_room = b->abi.shared ? bytes : 0;
  return b->abi.shared;
}

static void release(sg_block *b) {
  free(b->threads);
  free(b->warps);
  free(b->abi.shared);
  if (b->frames) munmap(b->frames, b->frame_room);
  free(b);
}

static void describe(sg_block *b, sg_grid *g) {
  memcpy(b->abi.ntid, g->threads, sizeof b->abi.ntid);
  memcpy(b->abi.nctaid, g->blocks, sizeof b->abi.nctaid);
  b->abi.dynamic_shared = g->dynamic_shared;
  b->abi.total_shared = g->info->static_shared + g->dynamic_shared;
  b->abi.params = g->params;
  b->abi.nsmid = (uint32_t)sg_config()->processors;
  b->abi.grid_id = g->id;
  b->abi.envreg = g->envreg;
  b->abi.runtime = b;
  b->grid = g;
  b->next = NULL;
}

sg_block *sg_block_take(sg_grid *g) {
  sg_block *b = spare ? spare : aligned_alloc(64, (sizeof *b + 63) / 64 * 64);
  if (!b) return NULL;
  if (!spare) memset(b, 0, sizeof *b);
  spare = NULL;
  bool threads = g->info->mode == RM_MODE_LOOP || fit_threads(b, g->thread_count);
  if (!threads || !fit_shared(b, g->info->static_shared + (size_t)g->dynamic_shared)) {
    release(b);
    return NULL;
  }
  describe(b, g);
  return b;
}

void sg_block_give(sg_block *b) {
  if (spare)
    release(b);
  else
    spare = b;
}

void sg_block_set(sg_block *b, uint64_t number) {
  const sg_grid *g = b->grid;
  uint64_t row = number / g->blocks[0];
  b->abi.ctaid[0] = (uint32_t)(number % g->blocks[0]);
  b->abi.ctaid[1] = (uint32_t)(row % g->blocks[1]);
  b->abi.ctaid[2] = (uint32_t)(row / g->blocks[1]);
  b->started = false;
}

void *rm_frame(struct rm_thread *thread, uint64_t bytes) {
  sg_block *b = (sg_block *)thread->block;
  bytes = (bytes + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
  if (b->frame_bytes == 0) {
    size_t need = bytes * b->thread_room;
    if (need > b->frame_room) {
      if (b->frames) munmap(b->frames, b->frame_room);
      void *p = mmap(NULL, need, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      b->frames = p == MAP_FAILED ? NULL : p;
      b->frame_room = b->frames ? need : 0;
      if (!b->frames) sg_fault_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    b->frame_bytes = bytes;
  }
  if (bytes > b->frame_bytes) sg_fault_leave(CUDA_ERROR_LAUNCH_FAILED);
  return b->frames + (size_t)thread->index * b->frame_bytes;
}

/* ---- starting */

static void start_thread(sg_block *b, uint32_t i, const uint32_t tid[3]) {
  struct rm_thread *t = &b->threads[i];
  t->block = &b->abi;
  memcpy(t->tid, tid, sizeof t->tid);
  t->state = RM_THREAD_NEW;
  t->lane = i % SG_WARP;
  t->index = i;
}

static void start_threads(sg_block *b, uint32_t count) {
  uint32_t tid[3] = {0, 0, 0}, width = b->grid->info->width;
  for (uint32_t i = 0; i < count; i++) {
    start_thread(b, i, tid);
    tid[0] += width;
    if (tid[0] < b->abi.ntid[0]) continue;
    tid[0] = 0;
    if (++tid[1] == b->abi.ntid[1]) tid[1] = 0, tid[2]++;
  }
}

static void start(sg_block *b) {
  uint32_t count = b->grid->thread_count / b->grid->info->width;
  start_threads(b, count);
  b->warp_count = (count + SG_WARP - 1) / SG_WARP;
  for (uint32_t w = 0; w < b->warp_count; w++) {
    uint32_t lanes = count - w * SG_WARP;
    uint32_t all = lanes >= SG_WARP ? ~0u : (1u << lanes) - 1;
    b->warps[w] = (sg_warp){.live = all, .ready = all};
  }
  memset(b->barriers, 0, sizeof b->barriers);
  b->live = count;
  b->at_barriers = 0;
  b->frame_bytes = 0;
  b->started = true;
}

/* ---- lanes */

static void resume(sg_block *b, struct rm_thread *t) {
  if (t->state == RM_THREAD_NEW) {
    t->state = RM_THREAD_READY;
    t->coroutine = ((rm_thread_entry)b->grid->entry)(&b->abi, t);
  } else {
    t->state = RM_THREAD_READY;
    (*(resume_function *)t->coroutine)(t->coroutine);
  }
}

static void wait_at_barrier(sg_block *b, struct rm_thread *t) {
  sg_barrier *k = &b->barriers[t->barrier % SG_BARRIERS];
  k->waiting++;
  k->sum += t->a & 1;
  if (t->barrier_count) k->expected = t->barrier_count;
  b->at_barriers++;
}

/* Where a lane went when it suspended. */
static void classify(sg_block *b, sg_warp *w, struct rm_thread *t, uint32_t bit) {
  switch (t->state) {
  case RM_THREAD_DONE:
    w->live &= ~bit;
    b->live--;
    break;
  case RM_THREAD_BARRIER:
    w->at_barrier |= bit;
    wait_at_barrier(b, t);
    break;
  case RM_THREAD_WARP: w->in_operation |= bit; break;
  case RM_THREAD_YIELD: w->yielded |= bit; break;
  default: sg_fault_leave(CUDA_ERROR_LAUNCH_FAILED);
  }
}

/* The lanes that wait in the same operation under the same mask as this one. */
static uint32_t group_of(const struct rm_thread *lanes, uint32_t waiting, uint32_t first) {
  uint32_t group = 0;
  for (uint32_t rest = waiting; rest; rest &= rest - 1) {
    uint32_t i = (uint32_t)__builtin_ctz(rest);
    if (lanes[i].mask == lanes[first].mask && lanes[i].op == lanes[first].op) group |= 1u << i;
  }
  return group;
}

static void complete(sg_warp *w, struct rm_thread *lanes, uint32_t group) {
  sg_warp_operation(lanes, group);
  w->in_operation &= ~group;
  w->ready |= group;
}

/* Does every warp operation whose group is complete; the lanes become ready. Where none is, lanes
   that want to know who is with them (RM_WARP_ACTIVE) have waited long enough. */
static bool complete_operations(sg_warp *w, struct rm_thread *lanes) {
  uint32_t together = 0;
  for (uint32_t rest = w->in_operation; rest;) {
    uint32_t first = (uint32_t)__builtin_ctz(rest);
    uint32_t group = group_of(lanes, w->in_operation, first);
    rest &= ~group;
    if (lanes[first].op == RM_WARP_ACTIVE)
      together = together ? together : group;
    else if (!(lanes[first].mask & w->live & ~group))
      complete(w, lanes, group);
  }
  if (!w->ready && together) complete(w, lanes, together);
  return w->ready;
}

/* Runs a warp until every lane is done, waits or has yielded. True: something other than a lane
   that yielded again happened. */
static bool run_warp(sg_block *b, uint32_t index) {
  sg_warp *w = &b->warps[index];
  struct rm_thread *lanes = b->threads + (size_t)index * SG_WARP;
  uint32_t spinning = w->yielded;
  bool moved = false;
  w->ready |= w->yielded;
  w->yielded = 0;
  do {
    while (w->ready) {
      uint32_t i = (uint32_t)__builtin_ctz(w->ready), bit = 1u << i;
      w->ready &= ~bit;
      resume(b, &lanes[i]);
      classify(b, w, &lanes[i], bit);
      moved |= !(spinning & bit) || lanes[i].state != RM_THREAD_YIELD;
    }
  } while (w->in_operation && complete_operations(w, lanes));
  return moved;
}

/* ---- barriers */

static uint64_t reduction(const sg_barrier *k, const struct rm_thread *t) {
  switch (t->op) {
  case RM_BAR_POPC: return k->sum;
  case RM_BAR_AND: return k->sum == k->waiting;
  case RM_BAR_OR: return k->sum != 0;
  default: return 0;
  }
}

static void release_barrier(sg_block *b, uint32_t number) {
  sg_barrier *k = &b->barriers[number];
  for (uint32_t index = 0; index < b->warp_count; index++) {
    sg_warp *w = &b->warps[index];
    for (uint32_t rest = w->at_barrier; rest; rest &= rest - 1) {
      uint32_t i = (uint32_t)__builtin_ctz(rest);
      struct rm_thread *t = &b->threads[index * SG_WARP + i];
      if (t->barrier % SG_BARRIERS != number) continue;
      t->result = reduction(k, t);
      w->at_barrier &= ~(1u << i);
      w->ready |= 1u << i;
    }
  }
  b->at_barriers -= k->waiting;
  *k = (sg_barrier){0};
}

static bool release_barriers(sg_block *b) {
  bool any = false;
  if (!b->at_barriers) return false;
  for (uint32_t i = 0; i < SG_BARRIERS; i++) {
    const sg_barrier *k = &b->barriers[i];
    uint32_t width = b->grid->info->width;
    uint32_t expected = k->expected ? k->expected / width : b->live;
    if (!k->waiting || k->waiting + k->arrived < expected) continue;
    release_barrier(b, i);
    any = true;
  }
  return any;
}

void rm_bar_arrive(struct rm_block *block, uint32_t barrier, uint32_t count) {
  sg_barrier *k = &((sg_block *)block)->barriers[barrier % SG_BARRIERS];
  k->arrived++;
  if (count) k->expected = count;
}

/* ---- the block */

static bool run_warps(sg_block *b, bool *spins) {
  bool moved = false;
  for (uint32_t w = 0; w < b->warp_count; w++) {
    if (b->warps[w].ready | b->warps[w].yielded) moved |= run_warp(b, w);
    *spins |= b->warps[w].yielded != 0;
  }
  return moved;
}

sg_block_end sg_block_run(sg_block *b) {
  if (!b->started) start(b);
  for (int rounds = 0; b->live && rounds < SPIN_ROUNDS;) {
    bool spins = false;
    bool moved = run_warps(b, &spins);
    moved |= release_barriers(b);
    if (!moved && !spins) sg_fault_leave(CUDA_ERROR_LAUNCH_FAILED); /* nobody can ever go on */
    rounds = moved ? 0 : rounds + 1;
  }
  return b->live ? SG_BLOCK_SPINS : SG_BLOCK_DONE;
}
