/* A block in flight: its threads, shared memory and coroutine frames, and its scheduler. */
#ifndef SG_BLOCKS_H
#define SG_BLOCKS_H
#include "grid.h"

enum { SG_WARP = 32, SG_BARRIERS = 16 };

/* Lanes of a warp by what they do, as bit masks. */
typedef struct sg_warp {
  uint32_t live, ready, at_barrier, in_operation, yielded;
} sg_warp;

typedef struct sg_barrier {
  uint32_t waiting, arrived, expected, sum;
} sg_barrier;

typedef struct sg_block {
  struct rm_block abi; /* first: what compiled code sees */
  sg_grid *grid;
  struct sg_block *next;
  struct rm_thread *threads;
  sg_warp *warps;
  uint32_t thread_room, warp_count, live;
  uint32_t at_barriers; /* threads waiting at any barrier */
  sg_barrier barriers[SG_BARRIERS];
  uint8_t *frames; /* coroutine frames, frame_bytes for each thread */
  size_t frame_room, frame_bytes;
  size_t shared_room;
  bool started;
} sg_block;

/* A block with room for this grid, or NULL when there is no memory; kept by the thread for reuse.
 */
sg_block *sg_block_take(sg_grid *grid);
void sg_block_give(sg_block *block);
/* Sets it to the block of this number. */
void sg_block_set(sg_block *block, uint64_t number);

typedef enum sg_block_end { SG_BLOCK_DONE, SG_BLOCK_SPINS } sg_block_end;
/* Runs a block in coroutine mode until it is done or does nothing but spin. */
sg_block_end sg_block_run(sg_block *block);
/* warp.c: does the operation for a group of lanes that has arrived. */
void sg_warp_operation(struct rm_thread *warp, uint32_t group);
/* mma.c */
void sg_warp_ldmatrix(struct rm_thread *warp);
void sg_warp_mma(struct rm_thread *warp);
#endif
