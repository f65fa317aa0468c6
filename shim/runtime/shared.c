/* shared.c: keeping the host's and the device's copies of shared memory equal. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "copy.h"
#include "ranges.h"
#include "session.h"
#include "shared_table.h"
#include "stream.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define PAGE 4096u
#define WORD 4u /* what two sides may write next to each other at the same time */
/* Programs made where managed memory is coherent may write it beside a kernel that doesn't use it,
 * though the device says that they mustn't. Comparing this much costs 0.2 ms at a launch. */
#define LOOKED_AT_ALWAYS (4u << 20)
#define STAGING (8u << 20) /* bytes fetched at once */
#define PIECES 512u        /* ranges fetched at once */
#define MARKS 256u         /* streams whose kernels may have written since the last fetch */

/* A stream that was given work which may write shared memory. */
typedef struct mark {
  rm_progress *stream;
  rm_context *context;
  uint64_t written, fetched; /* stamps: of the last such work, of what has been fetched */
} mark;

/* A stretch of a range on its way here. */
typedef struct piece {
  const rm_shared *range;
  size_t at, bytes;
  char *staged;
} piece;

static mark marks[MARKS];
static uint32_t mark_count;
static bool hosts_turn = true; /* a wait has returned since the last launch */
static bool filled;            /* a fill or copy is to be fetched by the wait that follows it */
static char *staging;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all this, also while bytes move */

static char *host_of(const rm_shared *r) { return (char *)(uintptr_t)r->host; }

bool rm_shared_remove(uint64_t host, rm_shared *out) {
  bool found = false;
  pthread_mutex_lock(&lock);
  for (uint32_t i = 0; i < rm_shared_count && !found; i++) {
    found = rm_shared_ranges[i].host == host;
    if (found) rm_shared_leave(i, out);
  }
  pthread_mutex_unlock(&lock);
  return found;
}

void rm_shared_forget(rm_context *context) {
  rm_shared gone;
  pthread_mutex_lock(&lock);
  for (uint32_t i = rm_shared_count; i-- > 0;) {
    if (rm_shared_ranges[i].context != context) continue;
    rm_shared_leave(i, &gone);
    if (rm_shared_one_address(&gone))
      rm_range_remove(gone.host, 1u << RM_RANGE_HOST, &(rm_range){0});
  }
  for (uint32_t i = mark_count; i-- > 0;)
    if (marks[i].context == context) marks[i] = marks[--mark_count];
  context->mover = NULL; /* it goes with the context's other streams */
  pthread_mutex_unlock(&lock);
}

void rm_shared_forget_owner(const void *module) {
  rm_shared gone;
  pthread_mutex_lock(&lock);
  for (uint32_t i = rm_shared_count; i-- > 0;)
    if (rm_shared_ranges[i].owner == module) rm_shared_leave(i, &gone);
  pthread_mutex_unlock(&lock);
}

/* ---- moving: in a stream of our own, which waits for nothing that the program is doing */

static CUresult own_stream(rm_context *context, rm_target *target) {
  if (!context->mover) {
    CUresult status = rm_stream_new(context, CU_STREAM_NON_BLOCKING, 0, &context->mover);
    if (status) return status;
  }
  return rm_target_of((CUstream)context->mover, target);
}

static CUresult wait_for(const rm_target *stream) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, stream->context, RM_CALL_stream_sync, sizeof(rm_q_stream_sync));
  if (status) return status;
  ((rm_q_stream_sync *)call.body)->stream = stream->id;
  return rm_call_wait(&call, NULL, 0);
}

/* Before anything else can use it: no later work waits for the fill. */
static CUresult clear(rm_context *context, uint64_t device, size_t bytes) {
  rm_target stream;
  rm_call call;
  CUresult status = own_stream(context, &stream);
  if (!status)
    status = rm_call_begin_on(&call, context, RM_CALL_cuMemsetD8Async, RM_Q_SIZE_cuMemsetD8Async);
  if (status) return status;
  *(rm_q_cuMemsetD8Async *)call.body =
      (rm_q_cuMemsetD8Async){.dstDevice = device, .N = bytes, .hStream = stream.id};
  rm_call_post(&call);
  return wait_for(&stream);
}

CUresult rm_shared_add(rm_context *context, uint64_t host, uint64_t device, size_t bytes,
                       bool any_time) {
  rm_shared what = {
      .host = host, .device = device, .bytes = bytes, .any_time = any_time, .context = context};
  CUresult status = clear(context, device, bytes);
  if (status) return status;
  pthread_mutex_lock(&lock);
  status = rm_shared_enter(&what);
  hosts_turn = true;
  pthread_mutex_unlock(&lock);
  return status;
}

/* ---- up: what differs from the twin */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static bool same(const rm_shared *r, size_t at, size_t n) {
  return !memcmp(host_of(r) + at, r->twin + at, least(n, r->bytes - at));
}

/* Managed memory is the host's alone between a wait and the next launch, so whole pages may go; of
 * mapped memory just the words that the host wrote, as kernels may be writing beside them. */
static size_t grain_of(const rm_shared *r) { return r->any_time ? WORD : PAGE; }

static size_t next_change(const rm_shared *r, size_t at) {
  while (at < r->bytes && same(r, at, PAGE - at % PAGE)) at += PAGE - at % PAGE;
  size_t grain = grain_of(r);
  while (at < r->bytes && same(r, at, grain)) at += grain;
  return least(at, r->bytes);
}

static size_t end_of_change(const rm_shared *r, size_t at) {
  size_t grain = grain_of(r);
  while (at < r->bytes && !same(r, at, grain)) at += grain;
  return least(at, r->bytes);
}

/* From the twin, so that it is what the device gets whatever other threads of the program do. */
static CUresult send_change(const rm_target *stream, const rm_shared *r, size_t at, size_t n) {
  memcpy(r->twin + at, host_of(r) + at, n);
  rm_side to = {.base = r->device + at, .pitch = n, .device = true};
  rm_rows from = {.base = r->twin + at, .pitch = n, .width = n, .rows = 1};
  return rm_copy_in(stream, &to, &from, true);
}

static CUresult send_changes(rm_context *context, const rm_shared *r) {
  rm_target stream;
  CUresult status = CUDA_SUCCESS;
  size_t at = next_change(r, 0);
  if (at < r->bytes) status = own_stream(context, &stream);
  while (at < r->bytes && !status) {
    size_t end = end_of_change(r, at);
    status = send_change(&stream, r, at, end - at);
    at = next_change(r, end);
  }
  return status;
}

static size_t total_bytes(void) {
  size_t n = 0;
  for (uint32_t i = 0; i < rm_shared_count; i++) n += rm_shared_ranges[i].bytes;
  return n;
}

static CUresult flush(rm_context *context) {
  CUresult status = CUDA_SUCCESS;
  bool always = hosts_turn || total_bytes() <= LOOKED_AT_ALWAYS;
  for (uint32_t i = 0; i < rm_shared_count && !status; i++)
    if (always || rm_shared_ranges[i].any_time)
      status = send_changes(context, &rm_shared_ranges[i]);
  return status;
}

CUresult rm_shared_flush(rm_context *context, bool launch) {
  pthread_mutex_lock(&lock);
  CUresult status = flush(context);
  if (launch && !status) hosts_turn = false;
  pthread_mutex_unlock(&lock);
  return status;
}

/* ---- down: what kernels changed; what the host changed meanwhile stays and goes up later */

static void merge_bytes(char *host, char *twin, const char *device, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (device[i] == twin[i]) continue;
    if (host[i] == twin[i]) host[i] = device[i];
    twin[i] = device[i];
  }
}

static void merge(char *host, char *twin, const char *device, size_t n) {
  for (size_t at = 0; at < n; at += PAGE) {
    size_t bytes = least(PAGE, n - at);
    if (memcmp(twin + at, device + at, bytes))
      merge_bytes(host + at, twin + at, device + at, bytes);
  }
}

static CUresult ask_for(const rm_target *stream, const piece *p, bool sync) {
  rm_side from = {.base = p->range->device + p->at, .pitch = p->bytes, .device = true};
  rm_rows to = {.base = p->staged, .pitch = p->bytes, .width = p->bytes, .rows = 1};
  return rm_copy_out(stream, &to, &from, sync);
}

static CUresult fetch_pieces(const rm_target *stream, const piece *pieces, uint32_t n) {
  CUresult status = CUDA_SUCCESS;
  for (uint32_t i = 0; i < n && !status; i++) status = ask_for(stream, &pieces[i], n == 1);
  if (n > 1 && !status) status = wait_for(stream);
  if (n > 1 && !status) status = rm_pending_drain(staging, STAGING);
  for (uint32_t i = 0; i < n && !status; i++) {
    const piece *p = &pieces[i];
    merge(host_of(p->range) + p->at, p->range->twin + p->at, p->staged, p->bytes);
  }
  return status;
}

/* Pinned, as a table entry: copies to it needn't be waited for one by one. */
static bool have_staging(rm_context *context) {
  if (staging) return true;
  void *at = mmap(NULL, STAGING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  rm_range range = {
      .base = (uint64_t)(uintptr_t)at, .bytes = STAGING, .kind = RM_RANGE_HOST, .context = context};
  if (rm_range_add(&range)) return (staging = at);
  munmap(at, STAGING);
  return false;
}

static CUresult fetch(rm_context *context) {
  piece pieces[PIECES];
  uint32_t n = 0;
  size_t used = 0;
  rm_target stream;
  if (!have_staging(context)) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult status = own_stream(context, &stream);
  for (uint32_t i = 0; i < rm_shared_count && !status; i++) {
    for (size_t at = 0; at < rm_shared_ranges[i].bytes && !status;) {
      if (n == PIECES || used == STAGING) {
        status = fetch_pieces(&stream, pieces, n);
        n = 0, used = 0;
      }
      size_t bytes = least(rm_shared_ranges[i].bytes - at, STAGING - used);
      pieces[n++] = (piece){&rm_shared_ranges[i], at, bytes, staging + used};
      at += bytes, used += bytes;
    }
  }
  return status ? status : fetch_pieces(&stream, pieces, n);
}

CUresult rm_shared_add_variable(rm_context *context, const void *module, uint64_t address,
                                size_t bytes) {
  rm_shared what = {.host = address, .device = address, .bytes = bytes, .owner = module};
  pthread_mutex_lock(&lock);
  CUresult status = rm_shared_enter(&what) ? CUDA_ERROR_NOT_SUPPORTED : fetch(context);
  pthread_mutex_unlock(&lock);
  return status;
}

/* ---- when */

static mark *mark_of(rm_context *context, rm_progress *stream) {
  uint32_t i = 0;
  while (i < mark_count && (marks[i].stream != stream || marks[i].context != context)) i++;
  if (i == mark_count) /* one that has nothing left to fetch, else a new one */
    for (i = 0; i < mark_count && marks[i].written > marks[i].fetched;) i++;
  if (i == MARKS) return NULL;
  if (i == mark_count) mark_count++;
  if (marks[i].stream != stream || marks[i].context != context)
    marks[i] = (mark){.stream = stream, .context = context};
  return &marks[i];
}

void rm_shared_written(rm_context *context, rm_progress *stream) {
  uint64_t stamp = __atomic_load_n(&stream->work, __ATOMIC_RELAXED);
  pthread_mutex_lock(&lock);
  mark *m = mark_of(context, stream);
  bool full = !m;
  if (m) m->written = stamp;
  pthread_mutex_unlock(&lock);
  if (full) rm_cuCtxSynchronize((CUcontext)context);
}

/* The legacy default stream waits for the blocking ones; more than what is done may be fetched. */
static bool concerns(const mark *m, const rm_context *context, const rm_progress *stream) {
  return m->context == context && (!stream || stream == &context->legacy || m->stream == stream);
}

static CUresult synced(rm_context *context, rm_progress *stream, uint64_t stamp) {
  bool needed = filled && !stream;
  CUresult status = CUDA_SUCCESS;
  hosts_turn = true;
  for (uint32_t i = 0; i < mark_count; i++)
    needed |= concerns(&marks[i], context, stream) && marks[i].written > marks[i].fetched &&
              stamp > marks[i].fetched;
  if (needed) status = fetch(context);
  if (!stream && !status) filled = false;
  for (uint32_t i = 0; i < mark_count && needed && !status; i++)
    if (marks[i].context == context && (!stream || marks[i].stream == stream) &&
        marks[i].fetched < stamp)
      marks[i].fetched = stamp;
  return status;
}

CUresult rm_shared_synced(rm_context *context, rm_progress *stream, uint64_t stamp) {
  if (!rm_shared_any()) return CUDA_SUCCESS;
  uint64_t now = rm_progress_now();
  if (stamp > now) stamp = now; /* of a stream of which nothing was known */
  pthread_mutex_lock(&lock);
  CUresult status = synced(context, stream, stamp);
  pthread_mutex_unlock(&lock);
  return status;
}

/* ---- fills and copies whose stubs are generated: the destination is the record's first field */

bool rm_shared_may_fill(uint16_t op) {
  switch (op) {
  case RM_CALL_cuMemcpyDtoDAsync:
  case RM_CALL_cuMemcpyPeerAsync:
  case RM_CALL_cuMemsetD8Async:
  case RM_CALL_cuMemsetD16Async:
  case RM_CALL_cuMemsetD32Async:
  case RM_CALL_cuMemsetD2D8Async:
  case RM_CALL_cuMemsetD2D16Async:
  case RM_CALL_cuMemsetD2D32Async: return true;
  default: return false;
  }
}

bool rm_shared_fills(const rm_record *record) {
  uint64_t to;
  if (!rm_shared_may_fill(record->op)) return false;
  memcpy(&to, record + 1, sizeof to);
  return rm_shared_translate(&to);
}

static bool anything_written(const rm_context *context) {
  bool any = false;
  for (uint32_t i = 0; i < mark_count; i++)
    any |= marks[i].context == context && marks[i].written > marks[i].fetched;
  return any;
}

CUresult rm_shared_settle(rm_context *context, bool fills) {
  pthread_mutex_lock(&lock);
  filled |= fills;
  hosts_turn = true;
  bool needed = filled || anything_written(context);
  pthread_mutex_unlock(&lock);
  if (!needed) return CUDA_SUCCESS;
  return rm_cuCtxSynchronize((CUcontext)context);
}
