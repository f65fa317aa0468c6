/* call.h: the stub interface: how a driver call becomes a record, is posted or waited for.
 *
 * A stub converts its handles (rm_id_*), opens a record (rm_call_begin), fills the body in place,
 * and ends with rm_call_post (never waits for a reply) or rm_call_wait (waits for the engine's
 * answer). Between begin and post/wait the thread holds the ring: fill the body, nothing else.
 * Must not know: what any operation means. */
#ifndef REMORA_SHIM_CALL_H
#define REMORA_SHIM_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "../generated/cuda_abi.h"
#include "../../transport/wire.h"

typedef struct rm_thread rm_thread;
typedef struct rm_context rm_context;

typedef struct rm_call {
  rm_record *record;
  void *body; /* body_bytes to fill: the request struct (zeroed), then raw bytes */
  rm_thread *thread;
  rm_context *context; /* current context, NULL if none */
} rm_call;

/* Attaches if needed; refuses in a forked child, without a current context, and on a context with a
 * sticky error. The record carries the current context and this thread. */
CUresult rm_call_begin(rm_call *call, uint16_t op, uint32_t body_bytes);
/* As rm_call_begin with an explicit context (NULL: none is needed, the record carries 0). */
CUresult rm_call_begin_on(rm_call *call, rm_context *context, uint16_t op, uint32_t body_bytes);

/* Publishes the record; the transport sends it in its own time. */
CUresult rm_call_post(rm_call *call);
/* As rm_call_post, for a caller that sends it itself: by rm_wait, which it calls next. */
CUresult rm_call_post_unsent(rm_call *call);
/* As rm_call_post, followed by one bulk message of n bytes under tag 0, sent from this thread; the
 * bytes may change once it returns. */
CUresult rm_call_post_bulk(rm_call *call, const void *bytes, size_t n);
/* Publishes it, sends, waits for the answer: exactly `bytes` into *answer. */
CUresult rm_call_wait(rm_call *call, void *answer, uint32_t bytes);
/* As rm_call_wait; what follows the answer goes to buf (cap bytes at most), *got says how much
 * there was. An answer longer than cap is CUDA_ERROR_OPERATING_SYSTEM. */
CUresult rm_call_wait_bytes(rm_call *call, void *answer, uint32_t bytes, void *buf, uint32_t cap,
                            uint32_t *got);
/* As rm_call_wait_bytes; *buf is allocated (free it), NULL when nothing followed. */
CUresult rm_call_wait_alloc(rm_call *call, void *answer, uint32_t bytes, void **buf, uint32_t *got);

/* Handles of the program to ids of the wire; CUDA_ERROR_INVALID_HANDLE (or _INVALID_CONTEXT) for
 * anything that this library did not hand out or that is gone. */
CUresult rm_id_stream(CUstream stream, uint64_t *id); /* also notes that work goes to the stream */
CUresult rm_id_event(CUevent event, uint64_t *id);
CUresult rm_id_module(CUmodule module, uint64_t *id);
CUresult rm_id_library(CUlibrary library, uint64_t *id);
CUresult rm_id_kernel(const void *function_or_kernel, uint64_t *id);
CUresult rm_id_context(CUcontext context, uint64_t *id);

/* Counts a call of an export; counts, besides, that it could not be served. */
void rm_count(uint32_t symbol_index);
CUresult rm_unsupported(uint32_t symbol_index);

/* What every thread carries; small, because it lies in thread-local storage. */
struct rm_tls {
  rm_thread *thread;           /* NULL until the first forwarded call */
  uint32_t symbol;             /* export that is running, for the statistics */
  struct rm_progress *touched; /* stream that the call being made sends work to */
  bool per_thread_stream;      /* inside a _ptsz or _ptds export: stream 0 is the per-thread one */
};
extern __thread struct rm_tls rm_tls __attribute__((tls_model("initial-exec")));

#endif
