/* frame.h: how a channel's traffic looks on a byte stream: frames of a 16-byte header and payload.
 * Little endian. Source of truth for docs/wire.md.
 * Must not know: sockets, channels. */
#ifndef REMORA_FRAME_H
#define REMORA_FRAME_H

#include <stdint.h>

typedef struct rm_frame {
  uint8_t kind;
  uint8_t bulk_released[2]; /* bulk messages given free so far: of tag 0, of other tags; wrap */
  uint8_t reserved;         /* 0 */
  uint32_t length;          /* of the payload that follows */
  uint32_t tag;             /* of a bulk message, else 0 */
  uint32_t ring_released;   /* bytes of records given free so far; wraps */
} rm_frame;
_Static_assert(sizeof(rm_frame) == 16, "frame header is 16 bytes");

/* Where the bytes of a bulk message lie, or that the receiver is asked where they shall go. */
typedef struct rm_placed {
  uint32_t turn;   /* counts these frames */
  uint32_t n;      /* bytes of the bulk message */
  uint32_t file;   /* number of a shared file; RM_PLACED_ASKS: the receiver has to name a place */
  uint32_t lent;   /* 1: the receiver has mapped this place before, and isn't waited for; else 0 */
  uint64_t offset; /* in that file */
} rm_placed;
#define RM_PLACED_ASKS UINT32_MAX
_Static_assert(sizeof(rm_placed) == 24, "a place is 24 bytes");

enum rm_frame_kind {
  RM_FRAME_RECORDS = 1, /* whole records, not crossing the ring's end */
  RM_FRAME_BULK = 2,
  RM_FRAME_URGENT = 3,
  RM_FRAME_CREDIT = 4, /* no payload */
  RM_FRAME_PING = 5,   /* no payload; answered by a pong */
  RM_FRAME_PONG = 6,   /* no payload */
  RM_FRAME_BYE = 7,    /* up to RM_NOTE_MAX bytes of text: why the sender closes; the last frame */
  /* Between ends that share memory only (shm.h): */
  RM_FRAME_PLACED = 8, /* rm_placed: a bulk message whose bytes don't follow */
  RM_FRAME_LANDED = 9, /* they are in their place (no payload), or follow after all */
};

#endif
