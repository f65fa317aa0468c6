/* endpoint.h: what remora.transport's Endpoint is made of: messages, registered buffers and
 * one-sided transfers over a channel, alike on both ends. Any thread may call anything; waits end
 * at their deadline or with the channel.
 *
 *   messages   copied into the ring; a large one travels as bulk messages. A window in bytes, told
 *              in the greeting, bounds what lies unreceived, so that transfers never wait behind
 * it. buffers    memory that the peer may read or write by a key. Every key, offset and length that
 *              comes from the peer is checked against the table here.
 *   transfers  WRITE and READ of a peer's buffer; the answering end needs no call of its program.
 *              What a link cannot place by itself lands straight in the memory it is for, because
 *              on_bulk names that. What may have to wait is sent by one thread, the courier.
 *
 * Must not know: Python, how a channel was opened. */
#ifndef REMORA_ENDPOINT_H
#define REMORA_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../channel.h"

typedef struct rm_endpoint rm_endpoint;

/* Told to the peer in the greeting. */
typedef struct rm_limits {
  uint64_t message_max; /* bytes of a message that this end takes */
  uint64_t window; /* bytes of messages that may lie here unreceived: rm_least_window or more */
} rm_limits;

/* The smallest window that takes every message in the end. */
uint64_t rm_least_window(uint64_t message_max);

enum rm_access { RM_REMOTE_READ = 1, RM_REMOTE_WRITE = 2 };

#define RM_NO_DEADLINE UINT64_MAX
/* A moment: microseconds of the monotonic clock. */
uint64_t rm_deadline_after(double seconds); /* negative: RM_NO_DEADLINE */

/* All return 0 (or what they say), -errno or an enum rm_error; RM_ETIMEOUT at the deadline. */

rm_endpoint *rm_endpoint_new(rm_limits mine, rm_limits theirs, uint32_t record_max);
/* Asked on a waiting thread four times a second; not 0 ends the wait with -EINTR. Set it first. */
void rm_endpoint_interruptible(rm_endpoint *ep, int (*interrupted)(void));
/* The channel's events; user is the endpoint. */
extern const rm_events rm_endpoint_events;
/* The channel is opened between these two. NULL: it could not be. */
void rm_endpoint_opening(rm_endpoint *ep);
void rm_endpoint_opened(rm_endpoint *ep, rm_channel *channel);
/* Ends the channel, after what was begun is sent if drain_ms allows. All waits return. */
void rm_endpoint_close(rm_endpoint *ep, int drain_ms);
/* Joins all threads. No other thread may be inside. After it nothing touches any memory. */
void rm_endpoint_quiesce(rm_endpoint *ep);
void rm_endpoint_free(rm_endpoint *ep);
/* Between opened and quiesce. */
rm_channel *rm_endpoint_channel(rm_endpoint *ep);
/* In a forked child: closes descriptors, and touches nothing else. */
void rm_endpoint_abandon(rm_endpoint *ep);

/* ---- messages */

typedef struct rm_piece {
  const void *bytes;
  size_t n;
} rm_piece;

/* Sends messages in order, with one system call where they fit. *sent counts those that are on
 * their way, also on failure; a large one whose sending has begun counts. */
int rm_endpoint_send(rm_endpoint *ep, const rm_piece *messages, size_t count, uint64_t deadline,
                     size_t *sent);

typedef struct rm_message {
  struct rm_message *next;
  size_t n;
  uint8_t bytes[];
} rm_message;

/* Waits for a message, and takes up to limit of them: a list that the caller frees one by one. What
 * came before the end of the channel is still handed out. */
int rm_endpoint_receive(rm_endpoint *ep, size_t limit, uint64_t deadline, rm_message **list);

/* ---- buffers */

/* n bytes of zeros for a buffer with this access: see memory.c. Whoever has them unmaps them. NULL:
 * there is no such memory. */
void *rm_endpoint_allocate(rm_endpoint *ep, size_t n, unsigned access);
/* Before they are unmapped, if the channel is still open: the peer loses them. */
void rm_endpoint_take_back(rm_endpoint *ep, void *at);
int rm_endpoint_register(rm_endpoint *ep, void *base, size_t n, unsigned access, uint64_t *key);
/* -EBUSY while a transfer of the peer is under way in it. */
int rm_endpoint_unregister(rm_endpoint *ep, uint64_t key);

/* ---- transfers */

enum rm_transfer_kind { RM_TRANSFER_WRITE, RM_TRANSFER_READ };

typedef struct rm_transfer {
  /* set by the caller */
  uint32_t kind;
  uint64_t key, offset; /* of the peer's buffer */
  uint8_t *local;       /* stays as it is until done */
  size_t n;
  /* the endpoint's */
  uint32_t token;
  size_t placed, arrived; /* bytes of a READ: coming, there */
  bool sending, answered; /* the courier still reads local; the peer has answered */
  int32_t status;         /* once done: 0, -EACCES: the peer has no such memory, or an error */
  bool done, listed;
  struct rm_transfer *next;
} rm_transfer;

int rm_transfer_start(rm_endpoint *ep, rm_transfer *t, uint64_t deadline);
/* Its status once it is done; RM_ETIMEOUT or the channel's error before. */
int rm_transfer_wait(rm_endpoint *ep, rm_transfer *t, uint64_t deadline);
bool rm_transfer_done(rm_endpoint *ep, rm_transfer *t);

#endif
