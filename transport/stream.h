/* stream.h: the receiving half of framing as a machine without I/O: says where the next bytes go,
 * is told how many came, and hands whole things to the channel.
 * Must not know: sockets, threads. */
#ifndef REMORA_STREAM_H
#define REMORA_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "frame.h"
#include "link.h"
#include "tuning.h"

typedef struct rm_stream rm_stream;

/* What a link does that takes frames of shared memory; NULL hook: they break the protocol. */
typedef struct rm_stream_hook {
  /* The bulk message that was announced is coming to `where`. true: all of it is there now. */
  bool (*placed)(rm_stream *in, const rm_placed *from, void *where);
} rm_stream_hook;

struct rm_stream {
  const rm_stream_hook *hook;
  uint8_t *asked;   /* where the bulk message that a PLACED frame announced goes, until it lands */
  uint32_t asked_n; /* its bytes; 0: none is announced */

  rm_frame frame;    /* the one under way, if left > 0 */
  uint8_t *to;       /* where the rest of its payload goes */
  size_t left;       /* bytes of it still to come */
  size_t begin, end; /* unread bytes in staging */
  uint8_t staging[RM_STAGING_BYTES];
};

/* Where the next bytes go: 1 or 2 pieces. */
unsigned rm_stream_room(rm_stream *in, struct iovec piece[2]);
/* n bytes have come there. false: the channel ended. */
bool rm_stream_took(rm_stream *in, rm_channel *ch, size_t n);
/* Is a frame half here? */
bool rm_stream_inside(const rm_stream *in);

#endif
