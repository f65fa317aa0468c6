/* wire.h: what travels inside the two rings of a channel, whatever carries them.
 *
 * A record is this 16-byte header, a fixed-layout struct, then raw bytes. Records start on
 * multiples of 8 and never wrap: a RM_OP_PAD record closes the ring. Little endian throughout.
 * Must not know: what any operation above RM_OP_FIRST_CALL means. */
#ifndef REMORA_WIRE_H
#define REMORA_WIRE_H

#include <stdint.h>

#define RM_PROTOCOL_MAJOR 0
#define RM_PROTOCOL_MINOR 1
#define RM_ALIGN 8u
#define RM_ALIGNED(n) (((n) + (RM_ALIGN - 1)) & ~(size_t)(RM_ALIGN - 1))

typedef struct rm_record {
  uint16_t op;
  uint16_t flags;
  uint32_t size; /* bytes of header + struct + raw bytes; the next record is at RM_ALIGNED(size) */
  uint32_t seq;  /* of this ring, wraps; a reply carries the seq of the call that it answers */
  uint16_t ctx;  /* context the call belongs to; 0 = none */
  uint16_t thread; /* thread the call belongs to, and the waiter that a reply wakes */
} rm_record;
_Static_assert(sizeof(rm_record) == 16, "record header is 16 bytes");

enum rm_flags {
  RM_F_WAITS = 1, /* the sender waits for a reply */
  RM_F_ERROR = 2, /* of RM_OP_PRINT: text for standard error */
};

/* Operations below RM_OP_FIRST_CALL belong to the channel and to the session, the rest to the call
 * table. Directions: > client to engine, < engine to client. */
enum rm_op {
  RM_OP_PAD = 0,   /* both: fills the ring up to its end */
  RM_OP_REPLY = 1, /* <  answers a waiting call: struct rm_reply, then its out struct and bytes */
  RM_OP_DONE = 2,  /* <  a marked point of a stream was reached, or a copy out landed: rm_done */
  RM_OP_CALLBACK = 3, /* <  run a host function: rm_callback */
  RM_OP_PULL = 4,     /* <  send the payload of a copy from pinned memory now: rm_pull */
  RM_OP_PRINT = 5,    /* <  text that a kernel printed follows */
  RM_OP_FIRST_CALL = 64,
};

typedef struct rm_reply {
  int32_t status; /* CUresult */
  uint32_t reserved;
} rm_reply;

typedef struct rm_done {
  uint64_t token; /* chosen by the client */
  int32_t status; /* CUresult */
  uint32_t reserved;
} rm_done;

typedef struct rm_callback {
  uint64_t token;
  int32_t status; /* CUresult to hand to a stream callback */
  uint32_t reserved;
} rm_callback;

typedef struct rm_pull {
  uint64_t token; /* of the copy; the client sends size bytes from offset as one bulk message */
  uint64_t offset;
  uint32_t size;
  uint32_t tag; /* tag to send them under */
} rm_pull;

/* Urgent messages overtake the ring (see rm_channel_urgent): at most RM_URGENT_MAX bytes. */
#define RM_URGENT_MAX 64
enum rm_urgent_kind {
  RM_URGENT_CALLBACK_DONE = 1, /* > a host function returned: rm_callback_done */
};
typedef struct rm_callback_done {
  uint32_t kind;
  uint32_t reserved;
  uint64_t token;
} rm_callback_done;

#endif
