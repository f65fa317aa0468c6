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

enum rm_frame_kind {
  RM_FRAME_RECORDS = 1, /* whole records, not crossing the ring's end */
  RM_FRAME_BULK = 2,
  RM_FRAME_URGENT = 3,
  RM_FRAME_CREDIT = 4, /* no payload */
  RM_FRAME_PING = 5,   /* no payload; answered by a pong */
  RM_FRAME_PONG = 6,   /* no payload */
  RM_FRAME_BYE = 7,    /* up to RM_NOTE_MAX bytes of text: why the sender closes; the last frame */
};

#endif
