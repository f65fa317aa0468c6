/* The cuEvent* family. Each record makes a mark that stays valid when the event is recorded again
   or destroyed; the event points to the latest. */
#include "event.h"
#include "stream.h"
#include <stdlib.h>
#include <time.h>

typedef struct mark {
  _Atomic int references;
  sg_queue *queue;
  uint64_t place;
  int64_t ns;
} mark;

typedef struct sg_event {
  sg_object object;
  sg_context *context;
  unsigned flags;
  pthread_mutex_t lock;
  mark *latest;
} sg_event;

typedef struct record_command {
  sg_command head;
  mark *mark;
} record_command;

static void drop(mark *m) {
  if (!m || --m->references) return;
  sg_queue_drop(m->queue);
  free(m);
}

/* The event's latest mark, held; NULL when it was never recorded. */
static mark *latest(sg_event *e) {
  pthread_mutex_lock(&e->lock);
  mark *m = e->latest;
  if (m) m->references++;
  pthread_mutex_unlock(&e->lock);
  return m;
}

static CUresult run_record(sg_command *command) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  ((record_command *)command)->mark->ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  return CUDA_SUCCESS;
}

static void end_record(sg_command *command) { drop(((record_command *)command)->mark); }

static CUresult find(CUevent handle, sg_event **event) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *event = sg_object_get(handle, SG_EVENT);
  return *event ? sg_context_state((*event)->context) : CUDA_ERROR_INVALID_HANDLE;
}

CUresult sg_event_make_wait(CUevent handle, sg_queue *queue) {
  sg_event *e;
  CUresult r = find(handle, &e);
  if (r != CUDA_SUCCESS) return r;
  mark *m = latest(e);
  if (m) r = sg_queue_post_wait(queue, m->queue, m->place);
  drop(m);
  return r;
}

CUresult sg_cuEventCreate(CUevent *event, unsigned int flags) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!event) return CUDA_ERROR_INVALID_VALUE;
  if (flags & CU_EVENT_INTERPROCESS) return CUDA_ERROR_NOT_SUPPORTED;
  sg_event *e = sg_object_new(SG_EVENT, sizeof *e);
  if (!e) return CUDA_ERROR_OUT_OF_MEMORY;
  e->context = c;
  e->flags = flags;
  pthread_mutex_init(&e->lock, NULL);
  *event = (CUevent)e;
  return CUDA_SUCCESS;
}

static void delete_event(sg_event *e) {
  sg_object_retire(e);
  drop(e->latest);
  sg_object_free(e);
}

CUresult sg_cuEventDestroy(CUevent handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_event *e = sg_object_get(handle, SG_EVENT);
  if (!e) return CUDA_ERROR_INVALID_HANDLE;
  delete_event(e);
  return CUDA_SUCCESS;
}

void sg_events_forget(sg_context *context) {
  for (sg_event *e = sg_object_next(SG_EVENT, NULL); e; e = sg_object_next(SG_EVENT, e))
    if (e->context == context) delete_event(e);
}

static record_command *new_record(sg_queue *queue) {
  mark *m = calloc(1, sizeof *m);
  record_command *k = sg_command_new(sizeof *k, run_record);
  if (!m || !k) {
    free(m);
    free(k);
    return NULL;
  }
  m->references = 2; /* the event's and the command's */
  m->queue = sg_queue_hold(queue);
  k->head.flags = SG_ALWAYS | SG_QUICK;
  k->head.end = end_record;
  k->mark = m;
  return k;
}

CUresult sg_cuEventRecord(CUevent handle, CUstream stream) {
  sg_event *e;
  sg_context *c;
  sg_queue *q;
  CUresult r = find(handle, &e);
  if (r == CUDA_SUCCESS) r = sg_enter_stream(stream, &c, &q);
  if (r != CUDA_SUCCESS) return r;
  if (c->device != e->context->device) return CUDA_ERROR_INVALID_HANDLE;
  record_command *k = new_record(q);
  if (!k) return CUDA_ERROR_OUT_OF_MEMORY;
  mark *m = k->mark;
  pthread_mutex_lock(&e->lock);
  mark *before = e->latest;
  m->place = sg_queue_post(q, &k->head);
  e->latest = m;
  pthread_mutex_unlock(&e->lock);
  drop(before);
  return CUDA_SUCCESS;
}

CUresult sg_cuEventRecordWithFlags(CUevent handle, CUstream stream, unsigned int flags) {
  (void)flags;
  return sg_cuEventRecord(handle, stream);
}

CUresult sg_cuEventQuery(CUevent handle) {
  sg_event *e;
  CUresult r = find(handle, &e);
  if (r != CUDA_SUCCESS) return r;
  mark *m = latest(e);
  if (m && !sg_queue_reached(m->queue, m->place)) r = CUDA_ERROR_NOT_READY;
  drop(m);
  return r;
}

CUresult sg_cuEventSynchronize(CUevent handle) {
  sg_event *e;
  CUresult r = find(handle, &e);
  if (r != CUDA_SUCCESS) return r;
  mark *m = latest(e);
  if (m) sg_queue_wait(m->queue, m->place);
  drop(m);
  return sg_context_state(e->context);
}

static CUresult between(const mark *a, const mark *b, float *ms) {
  if (!a || !b) return CUDA_ERROR_INVALID_HANDLE;
  if (!sg_queue_reached(a->queue, a->place) || !sg_queue_reached(b->queue, b->place))
    return CUDA_ERROR_NOT_READY;
  *ms = (float)((double)(b->ns - a->ns) / 1e6);
  return CUDA_SUCCESS;
}

CUresult sg_cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
  sg_event *a, *b;
  CUresult r = find(start, &a);
  if (r == CUDA_SUCCESS) r = find(end, &b);
  if (r == CUDA_SUCCESS && !ms) r = CUDA_ERROR_INVALID_VALUE;
  if (r != CUDA_SUCCESS) return r;
  if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
  mark *m = latest(a), *n = latest(b);
  r = between(m, n, ms);
  drop(m);
  drop(n);
  return r;
}
