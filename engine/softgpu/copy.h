/* Copies and fills as commands of a queue. */
#ifndef SG_COPY_H
#define SG_COPY_H
#include "queue.h"

/* depth slices of rows of width bytes. */
typedef struct sg_copy {
  uintptr_t to, from;
  size_t width, rows, depth;
  size_t to_pitch, from_pitch, to_slice, from_slice;
} sg_copy;

/* How much of a copy's host memory must be done with when the call returns. */
typedef enum sg_when {
  SG_NOW,   /* the call waits for the copy */
  SG_LATER, /* in stream order; waits only where pageable memory asks for it */
} sg_when;

CUresult sg_copy_post(CUstream stream, const sg_copy *copy, sg_when when);
#endif
