/* internal.h: the inside of a channel, shared by its source files only.
 *
 * Locks, in the order in which one thread may take them:
 *   put_lock   the sending ring's open end: from rm_begin to rm_commit (to the last bulk message)
 *   send_lock  the link's sending half and `sent`
 *   wait_lock  the list of sleeping waiters;  fail_lock  the error's text;  note_lock  notes
 * The reading thread blocks on none of put_lock and send_lock. It owns `reader` and all of rx.
 * Positions count bytes since the start and never wrap; a position's place in a ring is pos & mask.
 */
#ifndef REMORA_INTERNAL_H
#define REMORA_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "channel.h"
#include "link.h"
#include "lock.h"
#include "tuning.h"

#define RM_LINE 64
#define RM_OWN_LINE _Alignas(RM_LINE)

typedef uint32_t rm_word; /* a futex word, touched with __atomic builtins only */

struct rm_put {
  rm_lock lock;
  uint8_t *ring;
  uint64_t open_end; /* where head goes at commit */
  rm_record *open;
  uint32_t seq;
};

struct rm_tx {
  rm_lock lock;
  uint64_t sent;
  bool held;                     /* the link still has the rest of a send */
  bool dead;                     /* the peer takes nothing any more */
  rm_note notes[RM_PARCELS_MAX]; /* notes being sent */
  rm_traffic stats;
};

struct rm_coming { /* a bulk message under way */
  uint32_t tag;
  void *where;
  size_t n;
};

struct rm_rx {
  uint8_t *ring;
  uint64_t coming;       /* end of the record frame under way */
  uint64_t landed;       /* bytes there */
  uint64_t parsed;       /* whole, checked records there */
  const rm_record *last; /* of them, pads aside */
  uint64_t last_from;    /* end of the one before it */
  uint64_t last_to;
  struct rm_coming bulks[RM_BULK_COMING]; /* messages under way, the oldest at bulk_first */
  uint32_t bulk_first, bulk_count;
  bool bulk_needed; /* the consumer has no use for anything else until they are there */
  uint32_t bulk_arrived[2];
  uint32_t peer_ring_released;
  rm_traffic stats;
};

struct rm_notes { /* notes that wait to be sent */
  pthread_mutex_t lock;
  uint32_t first, count;
  bool ping, pong;
  rm_note urgent[RM_URGENT_SLOTS];
};

struct rm_channel {
  /* constant after opening */
  rm_link *link;
  rm_events events;
  void *user;
  uint64_t ring_bytes, mask;
  uint32_t record_max, bulk_window, silence_ms, tick_ms, spin_us;
  bool flushes; /* has a flusher thread */
  bool bulk_overlaps;
  bool own_rings[2]; /* mapped here: sending, receiving */
  char peer[128];
  pthread_t flusher, service;

  RM_OWN_LINE struct rm_put put;
  RM_OWN_LINE uint64_t head; /* end of committed records; written under put.lock */
  rm_word flusher_asleep;

  RM_OWN_LINE struct rm_tx tx;
  rm_word work;       /* notes or credits wait for a sender */
  rm_word held;       /* tx.held, for readers without the lock */
  uint32_t told_ring; /* credit as last sent; written under tx.lock */
  uint32_t told_bulk; /* of tag 0 in the low byte, of other tags in the next */

  RM_OWN_LINE uint64_t acked; /* records that the peer gave free; written by the reading thread */
  uint32_t bulk_acked[2];
  rm_word credit_turn; /* futex: changes with every credit received */
  rm_word credit_sleepers;

  RM_OWN_LINE uint32_t bulk_sent[2]; /* credits taken; compare and swap */

  RM_OWN_LINE rm_word reader; /* 1: some thread is the reading thread */
  uint32_t leaders;           /* counts waiters that led; written by the reading thread */
  rm_word park;               /* futex of the service thread: enum rm_park */
  rm_word served;             /* a service thread or read loop runs */
  int32_t expected;           /* rm_expect */

  uint32_t spin_vain, spin_rest; /* of the reading thread: see spin() */
  bool yields_first, apart;      /* likewise: see look_in_vain() */

  RM_OWN_LINE struct rm_rx rx;
  RM_OWN_LINE uint64_t ready; /* end of records handed to the consumer: rx.parsed, published */
  rm_word heard;              /* the peer was heard of since it was last checked, */
  uint64_t heard_ms;          /* or when that was, as it was checked: reading clocks is not free */
  uint64_t asked_ms;          /* when it was last pinged */

  RM_OWN_LINE uint64_t released; /* records given free by the consumer */
  uint64_t next;                 /* the consumer's position */
  uint32_t bulk_released[2];
  rm_waiter consumer;
  rm_word consumer_waits;

  RM_OWN_LINE pthread_mutex_t wait_lock;
  rm_waiter *waiters;
  rm_word sleepers;
  uint64_t waits, credit_waits;

  struct rm_notes notes;
  pthread_mutex_t fail_lock;
  int32_t error;
  rm_word closing;       /* rm_channel_close is under way */
  rm_word stopped;       /* after the end: the link is, */
  rm_word telling, told; /* and on_end is being told, has been told; told: futex */
  char why[320];
};

enum rm_park { RM_PARK_NONE, RM_PARK_BRIEF, RM_PARK_DEEP };

#define rm_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define rm_load_ordered(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define rm_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define rm_store_ordered(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define rm_swap(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define rm_add(p, v) __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST)
/* A statistic with one writer at a time, read by anyone. */
#define rm_count(p, v)                                                                             \
  __atomic_store_n((p), __atomic_load_n((p), __ATOMIC_RELAXED) + (v), __ATOMIC_RELAXED)
#define rm_likely(x) __builtin_expect(!!(x), 1)
#define rm_unlikely(x) __builtin_expect(!!(x), 0)

static inline bool rm_ended(rm_channel *ch) { return rm_load(&ch->error) != 0; }

/* Is there anything to send, as far as can be seen without the lock? */
static inline bool rm_unsent(rm_channel *ch) {
  return rm_load_ordered(&ch->head) != rm_load(&ch->tx.sent) || rm_load_ordered(&ch->work) ||
         rm_load(&ch->held) || ch->link->corked || rm_load(&ch->link->due);
}

/* The peer shares this thread's processor: looking again is in vain while it does not run. */
static inline bool rm_beside(rm_channel *ch) {
  return ch->link->ops->beside && ch->link->ops->beside(ch->link);
}

/* futex.c */
/* Sleeps while *word == value, up to timeout_ms (-1: no limit). May return early. */
void rm_futex_wait(rm_word *word, uint32_t value, int timeout_ms);
void rm_futex_wait_us(rm_word *word, uint32_t value, unsigned us);
void rm_futex_wake(rm_word *word, int count);
uint64_t rm_now_ms(void); /* coarse, monotonic */
uint64_t rm_now_us(void);

/* fail.c: the first failure is kept, everyone is woken */
int rm_fail(rm_channel *ch, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* bye: what the peer is told, if it can be; NULL: nothing. */
int rm_fail_text(rm_channel *ch, int error, const char *bye, const char *why);
/* What a link's error means, in words, as the channel's failure. */
int rm_fail_link(rm_channel *ch, int error);
/* After the end, as a thread has left the link's sending or receiving half: tells the end if it was
 * the last. */
void rm_tell_end(rm_channel *ch);

/* send.c */
/* Sends all that waits. blocks: waits for the socket, else leaves the rest to others: -EAGAIN. */
int rm_drain(rm_channel *ch, bool blocks);
/* Gets waiting notes and credits sent, now or by whoever is sending. Never waits on the reader. */
void rm_nudge(rm_channel *ch);
/* Is enough free again since the last frame to be worth a frame of its own? */
bool rm_credit_due(rm_channel *ch);
void rm_wake_flusher(rm_channel *ch);
void *rm_flusher_run(void *channel);
/* Tells the peer why this side ends, if the link takes it at once. The last thing sent. */
void rm_say_bye(rm_channel *ch, const char *why);
/* false: no slot. */
bool rm_note_put(rm_channel *ch, uint32_t kind, const void *bytes, size_t n);

/* wait.c */
uint64_t rm_deadline_us(int timeout_ms);
/* rm_wait, without sending first. */
int rm_wait_quietly(rm_channel *ch, rm_waiter *w, uint64_t deadline_us);
/* Makes one sleeping waiter the leader, if there is any. */
bool rm_wake_next_leader(rm_channel *ch);
void rm_waiters_end(rm_channel *ch);
/* Reads once, unless something was credited since `turn` was read; false: another thread reads. */
bool rm_read_for_turn(rm_channel *ch, uint32_t turn);
/* Sleeps until credit has come since `turn` was read, or the channel ended; may return early. */
void rm_credit_sleep(rm_channel *ch, uint32_t turn);

/* read.c */
bool rm_reading_here(const rm_channel *ch); /* is this the reading thread */
/* false: another thread has the role, or the channel has ended. */
bool rm_read_take(rm_channel *ch);
void rm_read_leave(rm_channel *ch);
/* As the reading thread: takes in what is there. sleep: waits for it first. */
long rm_read_some(rm_channel *ch, bool sleep);
/* To be called every tick: asks a silent peer, or ends the channel. Any thread; never waits. */
void rm_check_silence(rm_channel *ch);
/* What the reading thread has to watch the link for: enum rm_ready. */
int rm_events_wanted(rm_channel *ch);

/* serve.c */
void rm_service_wake(rm_channel *ch);
/* The reading thread leaves. half: in the middle of something. */
void rm_service_wake_if_due(rm_channel *ch, bool half);
void *rm_service_run(void *channel);

#endif
