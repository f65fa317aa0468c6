/* How threads come by a grid's blocks: in ranges, since taking them one by one costs as much as
   running short ones (the atomic operation waits for all stores before it). */
#ifndef SG_CLAIM_H
#define SG_CLAIM_H
#include "grid.h"

/* What a thread has in hand, from a zero start. */
typedef struct sg_claim {
  uint64_t next, end; /* blocks */
  uint64_t size;      /* of the range that was taken last */
  int64_t since;      /* when it was, ns */
} sg_claim;

void sg_claim_start(sg_grid *grid);
/* Whether blocks are left that nobody has taken. */
bool sg_claim_left(const sg_grid *grid);
/* The next block's number; false: there are no more. */
bool sg_claim_next(sg_grid *grid, sg_claim *claim, uint64_t *block);
/* Gives back what is in hand; false: there is no room for it, run it. */
bool sg_claim_return(sg_grid *grid, sg_claim *claim);
int64_t sg_now_ns(void);
#endif
