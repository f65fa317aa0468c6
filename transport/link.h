/* link.h: the seam between a channel and whatever carries its bytes.
 *
 * The channel owns rings, credits, threads and waits. A link moves four things to the peer: ranges
 * of the sending ring, bulk messages, notes (urgent, ping, pong, bye) and credits. How they look
 * under way is the link's own business: tcp makes frames of them (frame.h); a link with remote
 * writes puts ring ranges straight into the peer's ring at the same offset and sends a tail notice.
 *
 * send and resume are called under the channel's send lock, receive by the one reading thread, so a
 * link needs no locks. What arrives is handed to the rm_in_ functions below; they check it.
 *
 * Must not know: records' meaning, waiters, threads. */
#ifndef REMORA_LINK_H
#define REMORA_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel.h"

/* What the receiving half of this side has given free so far, counted from the start, wrapping. */
typedef struct rm_credit {
  uint32_t ring;   /* bytes of records */
  uint8_t bulk[2]; /* bulk messages: of tag 0, of other tags */
} rm_credit;

enum rm_note_kind { RM_NOTE_URGENT = 1, RM_NOTE_PING, RM_NOTE_PONG, RM_NOTE_BYE };
#define RM_NOTE_MAX 128u /* bytes of a note; RM_URGENT_MAX for urgent ones */

typedef struct rm_note {
  uint32_t kind, n;
  uint8_t bytes[RM_NOTE_MAX];
} rm_note;

enum rm_parcel_kind { RM_PARCEL_CREDIT, RM_PARCEL_NOTE, RM_PARCEL_RECORDS, RM_PARCEL_BULK };

/* One thing to send; its memory stays as it is until the link has let go of it. */
typedef struct rm_parcel {
  uint32_t kind;
  uint32_t tag; /* of a bulk message */
  const void *bytes;
  size_t n; /* records: a contiguous part of the ring, whole records; starts where the last ended */
  uint32_t note;
  bool more; /* of a bulk message: another send follows at once, so that the link may hold this back
              */
} rm_parcel;

#define RM_PARCELS_MAX 8u  /* in one send */
#define RM_BULK_COMING 32u /* bulk messages that may be coming in at once; a power of two */

enum rm_ready { RM_READABLE = 1, RM_WRITABLE = 2 };

typedef struct rm_link rm_link;

/* All return 0 (or what they say) or an error: -errno or enum rm_error. */
typedef struct rm_link_ops {
  /* Sends parcels, at least one, in order with one doorbell or system call, never waiting. -EAGAIN:
   * not all went; the link remembers the rest and resume goes on with it. Credit travels with all
   * of them. */
  int (*send)(rm_link *link, const rm_parcel *parcels, unsigned count, rm_credit credit);
  int (*resume)(rm_link *link);
  /* Takes in what has arrived and hands it to rm_in_*. sleep: waits for something first, without a
   * limit (a timer for each call costs 2 % of a round trip); stop ends it. Bytes taken in, -EAGAIN
   * for none, RM_EPEER at the end. */
  long (*receive)(rm_link *link, rm_channel *to, bool sleep);
  /* Waits for rm_ready events up to timeout_ms (-1: no limit): a set of them, 0 for none. */
  int (*wait)(rm_link *link, int events, int timeout_ms);
  /* Nothing more will be sent; what was sent still arrives, and receiving goes on. */
  void (*finish)(rm_link *link);
  /* Makes every sleeping and later call fail soon. Any thread. */
  void (*stop)(rm_link *link);
  /* Releases descriptors and memory; in a forked child descriptors only. */
  void (*free)(rm_link *link, bool forked);
  /* Registers memory with the link's device, or ends that, once nothing under way needs it. NULL:
   * the link has no use for it. Any thread. 0, or -errno: it will be copied. */
  int (*memory)(rm_link *link, rm_channel *ch, void *at, size_t n, bool on);
  /* Whether the peer runs on this thread's processor, as far as the link can tell. NULL: it can't.
   */
  bool (*beside)(rm_link *link);
  /* rm_register_dmabuf, rm_moves_alone; NULL: the link has no use for it. Any thread. */
  int (*dmabuf)(rm_link *link, uint64_t at, size_t n, int fd, uint64_t offset);
  bool (*moves_alone)(rm_link *link, uint64_t at, size_t n);
  /* rm_share; NULL: the link has no use for it. Any thread. */
  int (*share)(rm_link *link, void *at, size_t n, int fd, uint64_t offset);
} rm_link_ops;

struct rm_link {
  const rm_link_ops *ops;
  uint64_t bytes_sent; /* kept by the link, headers included */
  /* Of bulk messages: bytes that the CPU copied, and those that left or reached their own memory.
   */
  uint64_t bulk_copied, bulk_direct;
  /* Bulk messages whose bytes the peer still takes from where they lie: sent so, and done with. */
  uint64_t lent, returned;
  bool corked;  /* the link holds something back (rm_parcel.more), which the next send or resume
                   sends */
  uint32_t due; /* the link has something of its own to tell: it wants a send, if only of credit */
  /* Rings in memory of the link's own; NULL: the channel makes one. ring_bytes: of each ring, where
   * the link can't have them as large as the options ask; 0: it can. */
  uint8_t *send_ring, *receive_ring;
  uint32_t ring_bytes;
};

/* How long a peer may be silent under these options. */
uint32_t rm_silence_ms(const rm_options *options);

/* The link over a connected stream socket, which it owns from then on (also on failure: NULL). */
rm_link *rm_link_tcp(int fd, uint32_t silence_ms);

/* A channel over a link, which it owns from then on (also on failure). */
rm_channel *rm_channel_over(rm_link *link, const rm_options *options, const rm_events *events,
                            void *user);

/* ---- what a link hands in, on the reading thread. false / NULL: the channel has ended. */

bool rm_in_credit(rm_channel *ch, rm_credit credit);
/* n bytes of records are coming: where they go in the receiving ring; then as parts of them land
 * in order: n of them are there. */
void *rm_in_records(rm_channel *ch, size_t n);
bool rm_in_records_landed(rm_channel *ch, size_t n);
/* A bulk message is coming: *where it goes; then: all of it has landed. Several may be coming at
 * once, up to RM_BULK_COMING; they land in the order in which they were announced. */
bool rm_in_bulk(rm_channel *ch, uint32_t tag, size_t n, void **where);
bool rm_in_bulk_landed(rm_channel *ch);
/* Bulk messages are coming, and records sent behind them must not be handed in before they landed.
 */
bool rm_in_records_wait(const rm_channel *ch);
/* So many bulk messages in all whose bytes the peer has taken from this side's memory. */
void rm_in_returned(rm_channel *ch, uint64_t count);
/* Gets what is due sent soon. Never waits. */
void rm_in_nudge(rm_channel *ch);
bool rm_in_note(rm_channel *ch, uint32_t kind, const void *bytes, size_t n);
/* The connection ended with at least `left` bytes of something missing. */
void rm_in_cut_off(rm_channel *ch, size_t left);
/* The peer broke the wire's rules: ends the channel. Always false. */
bool rm_in_broken(rm_channel *ch, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
