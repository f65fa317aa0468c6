/* The cuStream* family. A stream is a handle on a queue; the per-thread default stream is a queue
   made at a thread's first use of it. */
#include "stream.h"
#include "event.h"
#include <stdlib.h>

typedef struct sg_stream {
  sg_object object;
  sg_context *context;
  sg_queue *queue;
} sg_stream;

__thread bool sg_tls_per_thread;

/* ---- per-thread default streams */

typedef struct thread_queue {
  struct thread_queue *next;
  sg_context *context;
  uint64_t legacy_id; /* the default stream's at the time: changes when the context is reset */
  sg_queue *queue;
} thread_queue;

static __thread thread_queue *thread_queues;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static bool still_there(const thread_queue *t) {
  return t->context->active && t->context->legacy->id == t->legacy_id;
}

static void thread_gone(void *list) {
  for (thread_queue *t = list, *next; t; t = next) {
    next = t->next;
    if (still_there(t)) sg_queue_close(t->queue);
    sg_queue_drop(t->queue);
    free(t);
  }
}

static void make_key(void) { pthread_key_create(&thread_key, thread_gone); }

static sg_queue *new_thread_queue(sg_context *context) {
  pthread_once(&thread_once, make_key);
  thread_queue *t = calloc(1, sizeof *t);
  sg_queue *q = t ? sg_queue_new(context, 0, 0) : NULL;
  if (!q) {
    free(t);
    return NULL;
  }
  *t = (thread_queue){thread_queues, context, context->legacy->id, sg_queue_hold(q)};
  thread_queues = t;
  pthread_setspecific(thread_key, t);
  return q;
}

static sg_queue *per_thread_queue(sg_context *context) {
  for (thread_queue *t = thread_queues; t; t = t->next)
    if (t->context == context && still_there(t)) return t->queue;
  return new_thread_queue(context);
}

/* ---- handles */

static CUresult default_stream(bool per_thread, sg_context **context, sg_queue **queue) {
  CUresult r = sg_enter(context);
  if (r != CUDA_SUCCESS) return r;
  *queue = per_thread ? per_thread_queue(*context) : (*context)->legacy;
  return *queue ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sg_enter_stream(CUstream handle, sg_context **context, sg_queue **queue) {
  if (!handle) return default_stream(sg_tls_per_thread, context, queue);
  if (handle == CU_STREAM_LEGACY) return default_stream(false, context, queue);
  if (handle == CU_STREAM_PER_THREAD) return default_stream(true, context, queue);
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_stream *s = sg_object_get(handle, SG_STREAM);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  *context = s->context;
  *queue = s->queue;
  return sg_context_state(s->context);
}

void sg_streams_forget(sg_context *context) {
  sg_stream *s = NULL, *next = sg_object_next(SG_STREAM, NULL);
  while ((s = next)) {
    next = sg_object_next(SG_STREAM, s);
    if (s->context != context) continue;
    sg_queue_close(s->queue);
    sg_object_free(s);
  }
  while (context->queues && (context->queues != context->legacy || context->legacy->next)) {
    sg_queue *q = context->queues == context->legacy ? context->legacy->next : context->queues;
    sg_queue_close(q);
  }
}

CUresult sg_cuStreamCreateWithPriority(CUstream *stream, unsigned int flags, int priority) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!stream || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  sg_stream *s = sg_object_new(SG_STREAM, sizeof *s);
  if (!s) return CUDA_ERROR_OUT_OF_MEMORY;
  s->context = c;
  priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
  s->queue = sg_queue_new(c, flags, priority);
  if (!s->queue) {
    sg_object_free(s);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *stream = (CUstream)s;
  return CUDA_SUCCESS;
}

CUresult sg_cuStreamCreate(CUstream *stream, unsigned int flags) {
  return sg_cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult sg_cuStreamDestroy(CUstream handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_stream *s = sg_object_get(handle, SG_STREAM);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  sg_object_retire(s);
  /* What was submitted still runs: the default stream takes over that somebody waits for it. */
  if (s->context->active) sg_queue_post_wait(s->context->legacy, s->queue, s->queue->submitted);
  sg_queue_close(s->queue);
  sg_object_free(s);
  return CUDA_SUCCESS;
}

CUresult sg_cuStreamSynchronize(CUstream handle) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r != CUDA_SUCCESS) return r;
  if (q == c->legacy)
    sg_context_drain(c, true);
  else
    sg_queue_drain(q);
  return sg_context_state(c);
}

CUresult sg_cuStreamQuery(CUstream handle) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r != CUDA_SUCCESS) return r;
  bool idle = q == c->legacy ? sg_context_idle(c) : sg_queue_reached(q, q->submitted);
  return idle ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult sg_cuStreamGetPriority(CUstream handle, int *priority) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r == CUDA_SUCCESS && !priority) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *priority = q->priority;
  return r;
}

CUresult sg_cuStreamGetFlags(CUstream handle, unsigned int *flags) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r == CUDA_SUCCESS && !flags) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *flags = q->flags;
  return r;
}

CUresult sg_cuStreamGetId(CUstream handle, unsigned long long *id) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r == CUDA_SUCCESS && !id) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *id = q->id;
  return r;
}

CUresult sg_cuStreamGetDevice(CUstream handle, CUdevice *device) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r == CUDA_SUCCESS && !device) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *device = c->device->ordinal;
  return r;
}

CUresult sg_cuStreamGetCtx(CUstream handle, CUcontext *context, CUgreenCtx *green) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r != CUDA_SUCCESS) return r;
  if (context) *context = (CUcontext)c;
  if (green) *green = NULL;
  return CUDA_SUCCESS;
}

/* There are no green contexts, so no stream belongs to one. cuBLAS asks. */
CUresult sg_cuStreamGetGreenCtx(CUstream handle, CUgreenCtx *green) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r == CUDA_SUCCESS && !green) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *green = NULL;
  return r;
}

CUresult sg_cuStreamWaitEvent(CUstream handle, CUevent event, unsigned int flags) {
  sg_context *c;
  sg_queue *q;
  (void)flags;
  CUresult r = sg_enter_stream(handle, &c, &q);
  return r == CUDA_SUCCESS ? sg_event_make_wait(event, q) : r;
}

/* No capture yet: nothing ever is being captured. */
CUresult sg_cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  sg_context *c;
  sg_queue *q;
  CUresult r = sg_enter_stream(handle, &c, &q);
  if (r == CUDA_SUCCESS && !status) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return r;
}

CUresult sg_cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   const CUgraphEdgeData **edges, size_t *count) {
  (void)id, (void)graph, (void)dependencies, (void)edges;
  if (count) *count = 0;
  return sg_cuStreamIsCapturing(handle, status);
}

CUresult sg_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  static __thread CUstreamCaptureMode current = CU_STREAM_CAPTURE_MODE_GLOBAL;
  if (!mode) return CUDA_ERROR_INVALID_VALUE;
  CUstreamCaptureMode before = current;
  current = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}
