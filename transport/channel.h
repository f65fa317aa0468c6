/* channel.h: the seam between a CUDA driver's two halves and whatever carries their bytes.
 *
 * A channel is two byte rings of records (wire.h), bulk messages, and urgent messages, to one peer.
 *
 *   records  rm_begin / rm_commit put one into the sending ring; the receiver reads it in place.
 *            Reliable, in order. Credits: a ring never holds more than the receiver has room for.
 *   bulk     a payload of any size up to RM_BULK_MAX under a 32-bit tag, sent from the caller's
 *            memory and received into memory that the receiver's on_bulk names. Bulk messages and
 *            records keep their order of sending: a record sent after a bulk message is seen after
 *            it. Messages of tag 0 and those of other tags have a credit window each: a payload
 *            that was asked for never waits behind payloads that lie in a queue.
 *   urgent   up to RM_URGENT_MAX bytes that need no credit and are handed to on_urgent by the
 *            reading thread, so they pass records that wait in the ring.
 *
 * Threads: any thread may send. A channel is read by one thread at a time: a waiter that leads,
 * else the service thread (client), or the reader thread (engine). A sender that cannot progress
 * never stops the reading. Callbacks run on the reading thread and must not block or wait on this
 * channel; they may send only with rm_try_begin / rm_commit / rm_channel_urgent and may call
 * rm_wake, rm_bulk_release and rm_expect.
 *
 * Ends: every wait ends when the peer dies, goes silent (rm_options.silence_ms), the channel is
 * closed, or its deadline passes. The first failure is kept and told to all: rm_channel_error.
 * Once a call that may wait has failed so, no thread and no device of the channel reads or writes
 * the program's memory any more (rm_channel_quiet). That is all but rm_flush and the rm_try_ ones.
 *
 * Must not know: CUDA, sessions, Python. */
#ifndef REMORA_CHANNEL_H
#define REMORA_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "wire.h"

#define RM_BULK_MAX (1u << 20) /* one bulk message; larger copies are cut into these */

/* Errors of this layer: negative errno values, or one of these. */
enum rm_error {
  RM_EPROTO = -10001,   /* the peer broke the wire's rules (bad frame, length, credit) */
  RM_ESILENT = -10002,  /* the peer was not heard of for silence_ms */
  RM_EPEER = -10003,    /* the peer closed the channel */
  RM_ECLOSED = -10004,  /* closed on this side */
  RM_ETIMEOUT = -10005, /* the caller's deadline passed; the channel is fine */
};

typedef struct rm_channel rm_channel;

typedef struct rm_options {
  uint32_t ring_bytes;  /* of each ring, a power of two, equal on both sides; 0 = 4 MiB */
  uint32_t record_max;  /* largest record accepted or sent; 0 = 1/4 of the ring */
  uint32_t bulk_window; /* bulk messages that may be unreleased, equal on both sides; 0 = 16 */
  uint32_t silence_ms;  /* keepalive: silence after which the peer counts as dead; 0 = 30,000 */
  uint32_t spin_us;     /* how long a wait spins before it sleeps; UINT32_MAX = default (50) */
  bool service;         /* start flusher and service threads (client side) */
  bool bulk_overlaps;   /* a record may be seen before bulk messages sent ahead of it have landed */
  const char *peer;     /* who is there, for error lines: "host:port"; copied; NULL = "peer" */
} rm_options;

typedef struct rm_events {
  /* One received record, in ring order. NULL: records are left for rm_next (engine side). */
  void (*on_record)(void *user, const rm_record *record);
  /* Where the n bytes of a bulk message go; NULL refuses it (n > 0), which ends the channel. */
  void *(*on_bulk)(void *user, uint32_t tag, size_t n);
  /* A bulk message has landed. The receiver calls rm_bulk_release once its memory is free again. */
  void (*on_bulk_done)(void *user, uint32_t tag, void *where, size_t n);
  void (*on_urgent)(void *user, const void *bytes, size_t n);
  /* Once, when the channel has ended and is quiet (rm_channel_quiet): error as in enum rm_error or
   * -errno, and one line for people. On whichever thread left it last, perhaps inside another call
   * of this header: must not block. */
  void (*on_end)(void *user, int error, const char *why);
} rm_events;

/* Takes over fd, a connected stream socket past its handshake. NULL with errno on failure, when fd
 * is closed too. */
rm_channel *rm_channel_tcp(int fd, const rm_options *options, const rm_events *events, void *user);

/* Ends the channel: unsent records are sent first when drain_ms allows, all waits return. It is
 * quiet then, but where this very thread is inside it (an exit in a signal handler). */
void rm_channel_close(rm_channel *ch, int drain_ms);
/* Ends the channel at once; the peer is told why (one line, up to 128 bytes) if it can be. */
void rm_channel_end(rm_channel *ch, const char *why);
/* After the end: returns once nothing of the channel touches the program's memory any more and
 * on_end has been told, or after that time (-1: no limit). Not in a callback. */
void rm_channel_quiet(rm_channel *ch, int timeout_ms);
/* Joins the threads and frees the memory. No other thread may be inside the channel. */
void rm_channel_free(rm_channel *ch);
/* In a forked child: releases descriptors and nothing else; never writes, locks or joins. */
void rm_channel_abandon(rm_channel *ch);
/* 0 while the channel works; else the first failure, and its one line in *why if why is given. */
int rm_channel_error(rm_channel *ch, const char **why);

/* ---- sending. Between begin and commit the caller holds the ring: fill the record, nothing else.
 */

/* Room for a record of size bytes (header included), header zeroed but for size and seq. Waits for
 * credit. NULL: the channel ended, or errno EMSGSIZE: size is not within 16..record_max. */
rm_record *rm_begin(rm_channel *ch, uint32_t size);
/* As rm_begin, but never waits: NULL also without credit or while another thread fills a record. */
rm_record *rm_try_begin(rm_channel *ch, uint32_t size);
/* Publishes it. The flusher (or the next rm_flush) sends it. */
void rm_commit(rm_channel *ch);
/* As rm_commit, and leaves the flusher asleep: the caller sends it itself with rm_wait or rm_flush,
 * which it calls next. */
void rm_commit_unsent(rm_channel *ch);
/* As rm_commit, and keeps the order "record, then its bulk messages" against other senders: the
 * bulk messages follow with rm_bulk_in_order, the last one gives the ring free. Registered memory
 * is lent, see rm_bulk_lend. */
void rm_commit_with_bulk(rm_channel *ch);
int rm_bulk_in_order(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bool last);
/* Sends all that is committed, from this thread. 0 or an error. */
int rm_flush(rm_channel *ch);
/* As rm_flush, but never waits: what does not go at once is left to the flusher. Any thread. */
void rm_try_flush(rm_channel *ch);
/* Sends one bulk message from this thread, after all that is committed; waits for bulk credit.
 * The bytes may be changed once it returns. 0 or an error (-EMSGSIZE beyond RM_BULK_MAX). */
int rm_bulk(rm_channel *ch, uint32_t tag, const void *bytes, size_t n);
/* As rm_bulk, but the bytes must stay as they are until rm_bulk_returned says so: over a link that
 * lets the peer take them from where they lie (rm_register) it does not wait for that. more: this
 * thread sends another at once, or calls rm_flush; until then it may be held back. */
int rm_bulk_lend(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bool more);
/* Waits until the peer has taken all that was lent up to now. 0 or an error. */
int rm_bulk_returned(rm_channel *ch);
/* Makes memory known to the link's device, so that bulk messages from and to it are not copied, for
 * as long as it lasts. Not needed for correctness: 0, or -errno where it will be copied (-ENOMEM:
 * too much is locked). Never needed twice for the same bytes. */
int rm_register(rm_channel *ch, void *at, size_t n);
/* As rm_register, for memory of a device that the CPU does not see: [at, at + n), in the device's
 * own addresses, are the bytes of fd, a dma-buf, from offset on. fd stays the caller's.
 * -EOPNOTSUPP: the link has no use for it, which rm_takes_dmabuf tells before, or its library is
 * too old. */
bool rm_takes_dmabuf(rm_channel *ch);
int rm_register_dmabuf(rm_channel *ch, uint64_t at, size_t n, int fd, uint64_t offset);
/* Whether a bulk message of n bytes from or to `at` is moved by the link's device alone. */
bool rm_moves_alone(rm_channel *ch, uint64_t at, size_t n);
/* Ends that, for the very range that was registered, when nothing under way needs it any more. */
void rm_deregister(rm_channel *ch, void *at, size_t n);
/* Tells that [at, at + n) is a shared mapping of fd's bytes from offset on, which a peer on this
 * host may map too: bulk messages from and to it are then copied once. It gets the whole file, and
 * may write it. fd < 0: no longer. Not needed for correctness: 0, or -errno where nothing comes of
 * it. Once per stretch of memory, not per copy. Any thread. */
int rm_share(rm_channel *ch, void *at, size_t n, int fd, uint64_t offset);
/* Whether the link has a use for that. */
bool rm_shares(rm_channel *ch);
/* 0 or an error; -EAGAIN only on the reading thread, when too many wait to be sent. */
int rm_channel_urgent(rm_channel *ch, const void *bytes, size_t n);
/* In on_bulk and on_bulk_done of a message of tag 0: the record that it was sent behind. `from` and
 * `to` are where that record begins (behind the one before it) and ends, in bytes since the start:
 * alone: the receiver has released all before it, so the message is what it needs next. */
typedef struct rm_preceding {
  const rm_record *record; /* NULL: none has come yet */
  uint64_t from, to;
  bool alone;
} rm_preceding;
rm_preceding rm_bulk_preceding(rm_channel *ch);
/* In on_bulk: the receiver has no use for what is before this message until it is there. If it is
 * the one that reads, it reads on, instead of waiting for another thread to take the reading over.
 */
void rm_bulk_needed(rm_channel *ch);
/* The receiver is done with the memory of one bulk message of this tag: gives its credit back.
 * Any thread. */
void rm_bulk_release(rm_channel *ch, uint32_t tag);

/* ---- receiving */

/* change > 0: that many messages are on their way that no waiter waits for (callbacks, pulls);
 * change < 0: they came. While there are any, the service thread reads whenever no waiter leads;
 * without, a message that comes just after a wait may lie for up to RM_GRACE_MAX_US. Any thread. */
void rm_expect(rm_channel *ch, int change);

/* ---- receiving where on_record is NULL (engine side) */

/* Reads until the channel ends: run it on a thread of your own. Returns the error. */
int rm_read_loop(rm_channel *ch);
/* The next record, in place; waits up to timeout_ms (-1: for ever), after sending what is unsent;
 * reads for itself when no one else does. NULL: see *error (RM_ETIMEOUT or the channel's end; what
 * had arrived before the end is still handed out). It stays valid until rm_release. One thread. */
const rm_record *rm_next(rm_channel *ch, int timeout_ms, int *error);
/* Gives the ring space of all records up to and with this one back to the sender. */
void rm_release(rm_channel *ch, const rm_record *record);

/* ---- waiting where on_record is set (client side) */

/* Initialise with {0} before the record that it waits for is committed. */
typedef struct rm_waiter {
  uint32_t state; /* futex word: RM_WOKEN once rm_wake was called */
  struct rm_waiter *next, *previous;
} rm_waiter;
#define RM_WOKEN 1u

/* Flushes, then waits until rm_wake(w), the end of the channel or the deadline. The first waiter
 * reads for all (leader); the others sleep. Spins spin_us first. Signals don't end it: their
 * handlers run and it goes on. timeout_ms -1: no deadline. Returns 0 when woken, else an error. */
int rm_wait(rm_channel *ch, rm_waiter *w, int timeout_ms);
/* Called from on_record: the wait is over. */
void rm_wake(rm_channel *ch, rm_waiter *w);
/* Reads whatever has arrived, without waiting, if no one else is reading. */
void rm_poll(rm_channel *ch);

typedef struct rm_traffic {
  uint64_t records_sent, records_received, bytes_sent, bytes_received;
  uint64_t bulk_sent, bulk_received, sends, recvs, waits, credit_waits;
  uint64_t bulk_copied,
      bulk_direct; /* bytes of bulk messages, where the link may copy: see link.h */
} rm_traffic;
void rm_channel_stats(rm_channel *ch, rm_traffic *out);

#endif
