/* inside.h: the inside of an endpoint, shared by its source files only.
 *
 * ep->lock guards everything but the channel and is held for a few instructions at a time, never
 * while a function of the channel runs (but rm_wake, which waits for nothing): the channel may call
 * back on any thread that is inside it. */
#ifndef REMORA_ENDPOINT_INSIDE_H
#define REMORA_ENDPOINT_INSIDE_H

#include <pthread.h>

#include "endpoint.h"

/* Up to this size bytes travel in the record itself: a copy costs less than a bulk message. */
#define RM_INLINE_BYTES (32u << 10)
/* What a message costs of the window beside its bytes: empty ones must not be free. */
#define RM_MESSAGE_COST 64u
/* Consumption is reported once this part of the window is free again. */
#define RM_WINDOW_SHARE 4u
#define RM_TOKEN_BUCKETS 64u
#define RM_REGIONS_MAX (1u << 20)
/* Of the file that buffers are shared in, at most: what a peer can map of it. */
#define RM_POOL_BYTES_MAX ((uint64_t)1 << 40)

/* ---- records of an endpoint. Both directions. Numbers are little endian. */

enum rm_endpoint_op {
  RM_EP_MESSAGE = RM_OP_FIRST_CALL, /* the message follows the header */
  RM_EP_LARGE,                      /* rm_ep_large; bulk messages of tag 0 follow */
  RM_EP_CONSUMED,                   /* rm_ep_consumed */
  RM_EP_WRITE,                      /* rm_ep_span, then n bytes, or bulk messages of tag 0 */
  RM_EP_READ,                       /* rm_ep_span */
  RM_EP_DATA,                       /* rm_ep_done, then all bytes of a small READ */
  RM_EP_DONE,                       /* rm_ep_done: the WRITE or READ of this token is over */
};

typedef struct rm_ep_large {
  uint64_t n;
} rm_ep_large;

typedef struct rm_ep_consumed {
  uint64_t total; /* cost of all messages received by the program so far */
} rm_ep_consumed;

typedef struct rm_ep_span {
  uint64_t key, offset, n;
  uint32_t token; /* chosen by who asks, not 0; tag of a large READ's bulk messages */
  uint32_t in_record;
} rm_ep_span;

typedef struct rm_ep_done {
  uint32_t token;
  int32_t status; /* 0, or -errno */
} rm_ep_done;

/* ---- state */

typedef struct rm_region {
  uint64_t key;
  uint8_t *base;
  size_t n;
  unsigned access;
  uint32_t busy; /* transfers of the peer under way in it */
} rm_region;

/* The file that buffers are shared in, and its stretches that are in use, in order. */
typedef struct rm_stretch {
  void *at;
  uint64_t from, n;
  struct rm_stretch *next;
} rm_stretch;

typedef struct rm_pool {
  pthread_mutex_t lock;
  bool open;
  int fd;
  uint64_t bytes;
  rm_stretch *first;
} rm_pool;

typedef struct rm_sleeper {
  rm_waiter waiter;
  struct rm_sleeper *next;
  bool listed;
} rm_sleeper;

enum rm_job_kind { RM_JOB_DONE, RM_JOB_CONSUMED, RM_JOB_SERVE_READ, RM_JOB_WRITE, RM_JOB_LARGE };

/* Something for the courier to send. */
typedef struct rm_job {
  struct rm_job *next;
  uint32_t kind;
  rm_ep_span span;
  int32_t status;
  rm_region *region;
  const uint8_t *bytes;
  struct rm_large *large;
  rm_transfer *transfer;
} rm_job;

/* A large message that its sender waits for: on the sender's stack. */
typedef struct rm_large {
  rm_job job;
  bool begun, sent;
  int error;
} rm_large;

/* What the bulk messages of tag 0 that come next belong to: at most one thing at a time, since a
 * record and its bulk messages come in one piece. */
typedef struct rm_incoming {
  bool active;
  uint8_t *at; /* where the next one goes; NULL: refused, the bytes go nowhere */
  size_t unplaced, left;
  rm_region *region;
  rm_message *message;
  uint32_t token;
  int32_t status;
} rm_incoming;

struct rm_endpoint {
  pthread_mutex_t lock;
  rm_channel *channel;
  rm_limits mine, theirs;
  uint32_t inline_max;

  rm_message *first, **last; /* received, not yet taken */
  uint64_t received, consumed, told;
  uint64_t sent, peer_consumed; /* costs of messages to the peer */
  int (*interrupted)(void);
  rm_sleeper *sleepers; /* all that wait for anything: few, and each looks for itself */

  rm_incoming incoming;
  uint8_t *nowhere; /* RM_BULK_MAX bytes for what was refused; made when needed */

  rm_region **regions;
  uint32_t region_room;
  rm_pool pool;

  rm_transfer *transfers[RM_TOKEN_BUCKETS];
  uint32_t next_token;

  pthread_cond_t work, let_go; /* for the courier; by it, when it is done with somebody's bytes */
  rm_job *jobs, **jobs_last;
  bool couriered, stopping, busy;
  pthread_t courier;
};

/* wait.c */
typedef bool (*rm_ready_test)(rm_endpoint *ep, void *what);
/* With the lock, which it gives up while it sleeps: until ready. 0, RM_ETIMEOUT,
 * -EINTR, or the end. */
int rm_ep_sleep(rm_endpoint *ep, rm_ready_test ready, void *what, uint64_t deadline);
/* The same for what the courier does: it would not wake a waiter that reads. */
int rm_ep_await_courier(rm_endpoint *ep, rm_ready_test ready, void *what, uint64_t deadline);
/* With the lock: all sleepers look again. Not those that read: on the reading thread only. */
void rm_ep_wake(rm_endpoint *ep);
uint64_t rm_ep_now_us(void);
int rm_ep_error(rm_endpoint *ep);

/* courier.c */
/* Takes the job over if it is not part of a rm_large. false: no memory or no thread. */
bool rm_ep_enqueue(rm_endpoint *ep, rm_job *job);
bool rm_ep_enqueue_copy(rm_endpoint *ep, rm_job job);
void rm_ep_stop_courier(rm_endpoint *ep);
/* An open record of op with room for a struct of n bytes and `more` raw ones; NULL: see
 * rm_ep_error, or the deadline passed. */
rm_record *rm_ep_begin(rm_endpoint *ep, uint16_t op, size_t n, uint64_t deadline);
/* Sends a small record now if that needs no waiting, else by the courier. Any thread. */
void rm_ep_answer(rm_endpoint *ep, uint32_t token, int32_t status);
void rm_ep_tell_consumed(rm_endpoint *ep, uint64_t total);

/* regions.c */
rm_region *rm_ep_claim(rm_endpoint *ep, const rm_ep_span *span, unsigned access);
void rm_ep_unclaim(rm_endpoint *ep, rm_region *region);
void rm_ep_free_regions(rm_endpoint *ep);

/* memory.c */
void rm_ep_open_pool(rm_pool *pool);
void rm_ep_close_pool(rm_pool *pool);

/* transfers.c */
rm_transfer *rm_ep_find_transfer(rm_endpoint *ep, uint32_t token);
/* The courier has let go of a WRITE's bytes. */
void rm_ep_transfer_sent(rm_endpoint *ep, rm_transfer *t);
void rm_ep_finish_transfer(rm_endpoint *ep, rm_transfer *t, int32_t status);

/* messages.c */
void rm_ep_deliver(rm_endpoint *ep, rm_message *message);
rm_message *rm_ep_new_message(size_t n);

#endif
