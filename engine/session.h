/* session.h: what one session of a client holds in the worker that serves it.
 *
 * The issuer thread, the helper threads and the reader share it; each part says which lock guards
 * it. Must not know: how records are laid out beyond their header, Python. */
#ifndef REMORA_ENGINE_SESSION_H
#define REMORA_ENGINE_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <cuda.h>

#include "arena.h"
#include "gate.h"
#include "jobs.h"
#include "ledger.h"
#include "staging.h"
#include "table.h"
#include "transport/channel.h"

#define MAX_DEVICES 8
#define ITEMS_MAX 65536u /* pending at a time; a client that queues more waits, and nobody else */
#define FIRST_MADE_CONTEXT 64 /* ids below are 1 + device: primary contexts */

/* A point of a stream that something waits for; see lanes.pxi. */
typedef struct Item {
  struct Item *next;
  uint64_t seq;   /* order of issue in the session, from 1 on; 0: it is in no lane */
  CUevent event;  /* reached when the stream gets here */
  uint64_t token; /* of a copy out or a mark; the pointer of a free */
  rm_record call; /* header of the waiting call to answer */
  Piece *pieces;  /* staged memory: to send, or only to give back */
  Gate *gate;     /* of a large copy out: what it came to */
  int32_t status; /* known before the event: a copy that could not be issued */
  uint8_t kind;
  bool told; /* the client hears the end of it: what is left is bookkeeping */
} Item;

/* ITEM_GATE: behind a gate of the same token; only a failure of the stream makes it do something.
 */
enum ItemKind {
  ITEM_GIVE_BACK,
  ITEM_OUT,
  ITEM_LARGE_OUT,
  ITEM_MARK,
  ITEM_SYNC,
  ITEM_FREE,
  ITEM_GATE
};

/* The items of one stream, oldest first; a helper drains it. Guarded by Session.lane_lock. */
typedef struct Lane {
  Job job;
  struct Lane *all; /* next of all lanes of the session */
  Item *first, *last;
  CUstream stream;
  uint16_t ctx;
  bool draining; /* its job is queued or at work */
  bool orphaned; /* its stream is gone: freed once empty */
} Lane;

typedef struct Context {
  CUcontext handle;
  uint64_t serial; /* never used twice, unlike the id and the handle */
  uint32_t device;
  int32_t deferred; /* first failure of a posted call, told once */
  uint16_t id;
  bool stray; /* a stream went while it was busy: only the driver knows when its work is done */
  CUstream copier; /* non-blocking stream of copies behind a gate, made when needed */
  Lane *legacy;    /* of the legacy default stream */
  Table threads;   /* per-thread default streams: thread -> Stream */
  CUevent *events; /* spare events for items; guarded by Session.lane_lock */
  uint32_t event_count, event_room;
  CUevent fence;          /* of copies that the program takes as done; see fence.pxi */
  uint64_t fences_passed; /* of the legacy default stream */
} Context;

typedef struct Stream {
  CUstream handle;
  uint16_t ctx;
  Lane *lane;
  uint64_t fences_passed; /* newest fence that it waited for or raised */
} Stream;

typedef struct Event {
  CUevent handle;
  uint16_t ctx;
  uint32_t users; /* helpers that wait for it; guarded by Session.lane_lock, */
  bool gone;      /* as is whether the client has destroyed it meanwhile */
} Event;

typedef struct Function {
  CUfunction handle;    /* a kernel of a library is passed as a function, as CUDA allows */
  CUkernel kernel;      /* set when it came from a library */
  void *owner;          /* its Module */
  uint32_t param_bytes; /* end of the last parameter */
  uint32_t param_count;
} Function;

typedef struct Module {
  CUmodule module; /* one of the two is set */
  CUlibrary library;
  Function *functions; /* found so far, by index */
  uint32_t count, room;
  uint16_t ctx;
} Module;

/* Memory outside the arenas that a client may name: globals of its modules. */
typedef struct Range {
  uint64_t at, bytes;
  void *owner; /* Module */
} Range;

typedef struct Device {
  struct Session *session;
  CUdevice handle;
  Arena arena;
  uint32_t users;       /* other devices that may use its memory, as bits */
  pthread_mutex_t lock; /* guards arena and users */
  /* Held to read by who sends straight from the arena's memory, to write by who frees some. */
  pthread_rwlock_t mapped;
  rm_channel *channel; /* that its memory is made known to; NULL: the CPU does not see it */
  bool refused;        /* which has failed before */
} Device;

typedef struct Session {
  rm_channel *channel;
  char broken[160]; /* why the session must end; empty while it works */
  Device devices[MAX_DEVICES];
  uint32_t device_count;
  const struct sg_visible *visible; /* where the CPU sees device memory; see direct.pxi */
  uint64_t
      placed_to; /* end of the last record whose payload landed directly; reading thread only */
  Ledger *ledger;
  uint32_t ledger_slot;

  Table contexts, streams, events, modules, functions;
  pthread_mutex_t make_lock; /* contexts, modules, globals are made and dropped under it */
  uint64_t serials;
  uint64_t fences; /* raised so far, the newest in the context fence_ctx */
  uint16_t fence_ctx;
  Range *globals;
  uint32_t global_count, global_room;

  Lane *lanes;
  uint64_t issued; /* seq of the newest item */
  uint32_t items;  /* pending in all lanes, */
  uint32_t told;   /* of them, those told, */
  uint32_t outs;   /* of them, those that carry data out, */
  uint32_t frees;  /* and frees in stream order */
  bool ended;
  pthread_mutex_t lane_lock;
  pthread_cond_t lane_moved; /* an item of some lane is through */

  Staging staging;
  uint32_t slabs_pinned;
  Piece *landing, *landing_last; /* where bulk messages under way go; reading thread only */
  Gates gates;
  Jobs jobs;
  void *images; /* Python object: the images that modules are loaded from */
} Session;

/* Serial of the context that is current on this engine thread; 0 = none. */
static inline uint64_t *current_serial(void) {
  static __thread uint64_t serial;
  return &serial;
}

/* Makes Device.mapped: those who wait to free go before those who come to send. */
int mapped_init(pthread_rwlock_t *lock);

/* Notes why the session must end; the first reason stays. */
void session_broken(Session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
