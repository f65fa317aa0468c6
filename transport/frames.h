/* frames.h: the sending half of framing as a machine without I/O: makes frames of parcels and keeps
 * the pieces of memory that are still to go.
 * Must not know: what takes the bytes. */
#ifndef REMORA_FRAMES_H
#define REMORA_FRAMES_H

#include <sys/uio.h>

#include "frame.h"
#include "link.h"

typedef struct rm_frames {
  struct iovec *next; /* what is left to send: count pieces */
  size_t count;
  unsigned made;
  struct iovec pieces[2 * (RM_PARCELS_MAX + 1)]; /* of one send, and of one that was held back */
  rm_frame frames[RM_PARCELS_MAX + 1];
} rm_frames;

/* The pieces of these parcels, in order; nothing may be left of earlier ones. */
void rm_frames_make(rm_frames *out, const rm_parcel *parcels, unsigned count, rm_credit credit);
/* As rm_frames_make, behind those of one parcel of which nothing has gone. */
void rm_frames_add(rm_frames *out, const rm_parcel *parcels, unsigned count, rm_credit credit);
/* The next n bytes have gone. */
void rm_frames_gone(rm_frames *out, size_t n);

#endif
