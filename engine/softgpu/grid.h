/* A grid: one kernel launch while it runs. Blocks are handed out (claim.h) to the queue's thread
   and, when the grid turns out to be worth it, to the pool's. */
#ifndef SG_GRID_H
#define SG_GRID_H
#include "context.h"
#include "kernel_abi.h"
#include "module.h"

typedef struct sg_grid {
  const struct rm_kernel_info *info;
  uintptr_t entry;
  _Atomic uint32_t *block_ns; /* the kernel's record of how long a block takes */
  uint32_t blocks[3], threads[3];
  uint32_t thread_count; /* of a block */
  uint32_t dynamic_shared;
  uint32_t id;
  int priority;          /* of its stream: 0 to -5, the lowest number first */
  const uint8_t *params; /* aligned to 16 */
  uint32_t envreg[32];
  uint64_t block_count;
  _Atomic uint64_t left; /* blocks that nobody has taken; claim.c's, as what follows */
  uint64_t next, returned, returned_end;
  _Atomic int error; /* CUresult of the first fault */
  _Atomic bool printed;
  pthread_mutex_t lock;    /* guards parked, and claim.c's */
  struct sg_block *parked; /* blocks that spin, waiting for their turn, oldest first */
  struct sg_block *parked_last;
  bool in_pool; /* the pool's lock guards what follows */
  int helpers;  /* pool threads at work here */
  struct sg_grid *pool_next;
} sg_grid;

/* Runs the whole grid and returns its error. Needs info, entry, sizes and params to be filled in.
 */
CUresult sg_grid_run(sg_grid *grid);
/* A block of this grid spins or takes long: let the pool's threads take others. */
void sg_grid_publish(sg_grid *grid);
#endif
