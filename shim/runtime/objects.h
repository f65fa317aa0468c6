/* objects.h: what the program's handles point to: contexts, streams, events, modules, functions.
 *
 * Each kind has an arena: a handle is a pointer into it, checked by range, alignment and a live
 * mark before use, so a stale or made-up handle is an error and never a crash. An object's place in
 * its arena (from 1) is its id on the wire. Must not know: the channel. */
#ifndef REMORA_SHIM_OBJECTS_H
#define REMORA_SHIM_OBJECTS_H

#include "call.h"
#include "stream_hints.h"

enum rm_kind {
  RM_CONTEXT,
  RM_STREAM,
  RM_EVENT,
  RM_MODULE,
  RM_FUNCTION,
  RM_POOL,
  RM_LINK,
  RM_KINDS
};

typedef struct rm_object {
  uint32_t live; /* kind + 1 while it exists (see rm_object_retire), 0 when free */
  uint32_t id;   /* from 1 */
} rm_object;

/* How far the work of a stream or event has come, as far as this side knows. Work is stamped from
 * one clock as it enters the ring; see progress.h. Read and written by any thread. */
typedef struct rm_progress {
  uint64_t work;       /* stamp of the last work sent */
  uint64_t done;       /* all work with a stamp up to this is complete */
  uint64_t mark;       /* a mark is under way for work up to this stamp */
  uint32_t generation; /* unique for the object, 0 once it is gone: late marks miss it */
  int32_t status;      /* failure that a mark told */
} rm_progress;

struct rm_context {
  rm_object object;
  uint16_t wire; /* 1..63 primary contexts, from 64 on made by the program */
  bool primary;
  uint32_t device; /* ordinal that the program sees */
  uint32_t flags;
  uint32_t references; /* primary: retains not released yet */
  uint32_t version;
  uint64_t peers;          /* devices whose memory it may use, as bits */
  int32_t sticky;          /* failure that every call on it returns */
  rm_progress legacy;      /* of the legacy default stream */
  uint64_t synced;         /* all its work with a stamp up to this is complete */
  struct rm_stream *mover; /* carries shared memory up and down; NULL until it is needed */
};

typedef struct rm_stream {
  rm_object object;
  rm_context *context;
  uint32_t flags;
  int32_t priority;
  CUstreamAttrValue hints[STREAM_HINTS]; /* kept for who asks; by stream_hint_at() */
  rm_progress progress;
} rm_stream;

typedef struct rm_event {
  rm_object object;
  rm_context *context;
  uint32_t flags;
  rm_progress progress; /* its `work` is the stamp of its last record */
  rm_progress *stream;  /* where that was, NULL: never recorded */
  uint32_t stream_generation;
} rm_event;

typedef struct rm_function rm_function;

typedef struct rm_module {
  rm_object object;
  bool library;
  bool of_runtime;        /* loaded by the CUDA runtime, for nvcc's own launches */
  rm_context *context;    /* of a module; NULL for a library */
  rm_function *functions; /* those looked up, linked through rm_function.next */
  void *listing;          /* what module_load told of its functions */
  uint32_t listing_bytes;
  uint32_t listing_count; /* 0: not told, names are asked one at a time */
} rm_module;

typedef struct rm_param {
  uint32_t offset, size;
} rm_param;

struct rm_function {
  rm_object object;
  rm_module *module;
  rm_function *next;
  char *name;
  rm_param *params;
  uint32_t param_count;
  uint32_t param_bytes;   /* size of the packed parameters */
  int32_t attributes[16]; /* by CUfunction_attribute */
};

typedef struct rm_pool {
  rm_object object;
  uint32_t device;
  bool standard;  /* the device's default pool */
  uint32_t holds; /* its handle and its allocations */
  uint64_t release_threshold;
  uint64_t used, used_high;
  int32_t reuse[3];
  uint64_t readers, writers; /* other devices that may use its memory, as bits */
} rm_pool;

typedef struct rm_linker {
  rm_object object;
  void *owned; /* the one image added; NULL before */
  size_t size;
} rm_linker;

/* Reserves the arenas' addresses, so that none is taken later, between a program's own mappings. */
bool rm_objects_reserve(void);
/* A zeroed object, or NULL when there are too many. */
void *rm_object_new(enum rm_kind kind);
/* The object that the handle points to, or NULL. */
void *rm_object_get(enum rm_kind kind, const void *handle);
/* The live object at or after *index (from 0), NULL at the end; advances *index. */
void *rm_object_each(enum rm_kind kind, uint32_t *index);
void rm_object_free(void *object);
/* Takes the handle away; the object itself stays until it is freed. */
void rm_object_retire(void *object);

#endif
