/* staging.h: pieces of host memory that payloads pass through, and the bulk credit that they back.
 *
 * A bulk message in order (tag 0) lands in a piece; its credit goes back to the peer as soon as
 * another piece stands ready, not when the device is done with it, so a stream that is held up
 * holds up nobody else. Must not know: streams, the driver. */
#ifndef REMORA_ENGINE_STAGING_H
#define REMORA_ENGINE_STAGING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "transport/channel.h"

#define STAGING_SLAB 16u    /* pieces made at a time */
#define STAGING_PIECES 256u /* most that a session holds: 256 MiB */

typedef struct Piece {
  struct Piece *next;
  uint8_t *bytes; /* RM_BULK_MAX of them */
  uint32_t size;  /* in use */
  bool extra;     /* made outside the pool */
  bool placed;    /* stands for a payload that landed where it belongs, not in bytes */
} Piece;

typedef struct Staging {
  pthread_mutex_t lock;
  pthread_cond_t moved; /* a piece came free or a payload arrived, or the session ended */
  rm_channel *channel;
  Piece *free, *landed, **landed_end;
  int file; /* behind the slabs; -1: the newest are private */
  uint8_t *slabs[STAGING_PIECES / STAGING_SLAB];
  uint32_t slab_count;
  uint32_t free_count;
  uint32_t promised; /* free pieces that back credit which the peer has */
  uint32_t owed;     /* credits to give back when pieces come free */
  bool ended;
} Staging;

/* window: bulk credits that the peer starts with. False: no memory. */
bool staging_init(Staging *staging, uint32_t window);
/* The channel is there: a peer on this host may reach the slabs. */
void staging_share(Staging *staging);
/* For on_bulk: where a message goes. NULL: the peer passed its credit. */
Piece *staging_land(Staging *staging);
/* For on_bulk_done, payloads of copies in (tag 0): queues it for staging_payload. */
void staging_landed(Staging *staging, Piece *piece);
/* The message has landed: its credit goes back now or as soon as a piece is free. */
void staging_credit(Staging *staging);
/* Whether staging_payload would wait. */
bool staging_waits(Staging *staging);
/* The next payload in order, waits for it. NULL: the session ended. */
Piece *staging_payload(Staging *staging);
/* A piece for data on its way out. NULL: none free (wait = false), or the session ended. */
Piece *staging_take(Staging *staging, bool wait);
/* A piece even when the pool is used up: for a gate, behind which the pool's pieces may be held. At
 * most two for each gate that a stream has reached. NULL: no memory. */
Piece *staging_extra(Staging *staging);
void staging_put(Staging *staging, Piece *piece);
/* All waits return. */
void staging_end(Staging *staging);

#endif
