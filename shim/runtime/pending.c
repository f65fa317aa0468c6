/* pending.c: slots for what the engine will come back to. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pending.h"
#include "printed.h"
#include "progress.h"
#include "session.h"
#include "thread.h"

#define SLOTS (1u << 16)
#define LOOK_AGAIN_MS 50 /* whether the session has ended meanwhile */

static rm_pending slots[SLOTS]; /* slot 0 stays empty */
static uint32_t slots_used = 1, slots_free;
static uint32_t functions_outstanding, copies_out_outstanding;
static uint32_t sleepers; /* threads in wait_for_an_end */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static rm_pending *take(void) {
  uint32_t index = slots_free;
  if (index)
    slots_free = slots[index].next_free;
  else if (slots_used < SLOTS)
    index = slots_used++;
  return index ? &slots[index] : NULL;
}

static uint64_t token_of(const rm_pending *slot) {
  return (uint64_t)slot->generation << 32 | (uint32_t)(slot - slots);
}

/* The channel reads at once, whoever waits, while the engine may ask something of this side. */
static void count(enum rm_pending_kind kind, uint32_t by) {
  if (kind == RM_PENDING_FUNCTION || kind == RM_PENDING_PULL)
    rm_expect(rm_session.channel, (int)by);
  functions_outstanding += kind == RM_PENDING_FUNCTION ? by : 0;
  copies_out_outstanding += kind == RM_PENDING_COPY_OUT ? by : 0;
}

/* Not rm_wait: a pull ends on the thread that sends its bytes, which wakes no reader. */
static void wait_for_an_end(void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += LOOK_AGAIN_MS * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  sleepers++;
  pthread_cond_timedwait(&ended, &lock, &until);
  sleepers--;
}

/* A stream may have more work queued than there are slots: then the program waits, as it would for
 * a full queue of a device. A query never waits. */
static rm_pending *take_or_wait(enum rm_pending_kind kind) {
  rm_pending *slot;
  bool waits = kind != RM_PENDING_MARK && !rm_in_callback();
  while (!(slot = take()) && waits && rm_attached()) wait_for_an_end();
  return slot;
}

rm_pending *rm_pending_new(const rm_pending *what, uint64_t *token) {
  pthread_mutex_lock(&lock);
  rm_pending *slot = take_or_wait(what->kind);
  if (slot) {
    uint32_t generation = slot->generation + 1;
    *slot = *what;
    slot->generation = generation;
    *token = token_of(slot);
    count(what->kind, 1);
  }
  pthread_mutex_unlock(&lock);
  return slot;
}

static rm_pending *find(uint64_t token) {
  uint32_t index = (uint32_t)token;
  if (!index || index >= slots_used || slots[index].generation != (uint32_t)(token >> 32))
    return NULL;
  return slots[index].kind == RM_PENDING_FREE ? NULL : &slots[index];
}

rm_pending *rm_pending_find(uint64_t token, enum rm_pending_kind kind) {
  pthread_mutex_lock(&lock);
  rm_pending *slot = find(token);
  pthread_mutex_unlock(&lock);
  return slot && slot->kind == kind ? slot : NULL;
}

static bool cut_short(const rm_pending *slot) {
  return slot->kind == RM_PENDING_COPY_OUT && slot->moved < slot->host.width * slot->host.rows;
}

static void end(rm_pending *slot, int32_t status) {
  rm_outcome *outcome = slot->outcome;
  if (!status && cut_short(slot)) status = CUDA_ERROR_OPERATING_SYSTEM;
  count(slot->kind, -1u);
  free(slot->staging);
  slot->staging = NULL;
  slot->outcome = NULL;
  slot->kind = RM_PENDING_FREE;
  slot->next_free = slots_free;
  slots_free = (uint32_t)(slot - slots);
  if (sleepers) pthread_cond_broadcast(&ended);
  if (outcome) {
    outcome->status = status;
    rm_wake(rm_session.channel, &outcome->waiter);
  }
}

void rm_pending_end(rm_pending *slot, int32_t status) {
  pthread_mutex_lock(&lock);
  end(slot, status);
  pthread_mutex_unlock(&lock);
}

/* Under the lock, once no one will come back to this outcome. */
static void detach(uint64_t token, const rm_outcome *outcome) {
  rm_pending *slot = find(token);
  if (slot && slot->outcome == outcome) slot->outcome = NULL;
}

CUresult rm_pending_wait(uint64_t token, rm_outcome *outcome) {
  int error = rm_wait(rm_session.channel, &outcome->waiter, -1);
  rm_printed_write();
  pthread_mutex_lock(&lock);
  detach(token, outcome);
  pthread_mutex_unlock(&lock);
  return error ? rm_session_failure() : (CUresult)outcome->status;
}

static bool is_copy(const rm_pending *slot) {
  return slot->kind == RM_PENDING_COPY_OUT || slot->kind == RM_PENDING_PULL;
}

static size_t extent(const rm_rows *rows) {
  return rows->rows ? (rows->rows - 1) * rows->pitch + rows->width : 0;
}

static bool overlaps(const rm_rows *rows, const char *base, size_t bytes) {
  return rows->base < base + bytes && base < rows->base + extent(rows);
}

bool rm_pending_hazard(const rm_rows *from) {
  pthread_mutex_lock(&lock);
  bool hazard = functions_outstanding > 0;
  for (uint32_t i = 1; copies_out_outstanding && i < slots_used && !hazard; i++)
    hazard =
        slots[i].kind == RM_PENDING_COPY_OUT && overlaps(&slots[i].host, from->base, extent(from));
  pthread_mutex_unlock(&lock);
  return hazard;
}

static rm_pending *copy_within(const char *base, size_t bytes) {
  for (uint32_t i = 1; i < slots_used; i++)
    if (is_copy(&slots[i]) && overlaps(&slots[i].host, base, bytes)) return &slots[i];
  return NULL;
}

CUresult rm_pending_drain(const void *base, size_t bytes) {
  rm_flush(rm_session.channel);
  pthread_mutex_lock(&lock);
  while (rm_attached() && copy_within(base, bytes)) wait_for_an_end();
  pthread_mutex_unlock(&lock);
  return rm_attached() ? CUDA_SUCCESS : rm_session_failure();
}

static bool contiguous(const rm_rows *rows) {
  return rows->rows == 1 || rows->pitch == rows->width;
}

void *rm_pending_bulk(void *user, uint32_t tag, size_t n) {
  (void)user;
  void *where = NULL;
  pthread_mutex_lock(&lock);
  rm_pending *slot = tag && tag < slots_used ? &slots[tag] : NULL;
  if (slot && slot->kind == RM_PENDING_COPY_OUT &&
      n <= slot->host.width * slot->host.rows - slot->coming) {
    where = (contiguous(&slot->host) ? slot->host.base : slot->staging) + slot->coming;
    slot->coming += n;
  }
  pthread_mutex_unlock(&lock);
  return where;
}

/* Spreads n packed bytes, from the copy's byte `from` on, over its rows. */
static void scatter(const rm_rows *rows, size_t from, const char *bytes, size_t n) {
  while (n) {
    size_t column = from % rows->width;
    size_t run = rows->width - column < n ? rows->width - column : n;
    memcpy(rows->base + from / rows->width * rows->pitch + column, bytes, run);
    from += run, bytes += run, n -= run;
  }
}

/* An empty message is of no copy: its tag may be anything. */
void rm_pending_bulk_done(void *user, uint32_t tag, void *where, size_t n) {
  (void)user;
  if (!n) {
    rm_session_break("an empty message");
    return;
  }
  rm_pending *slot = &slots[tag];
  if (!contiguous(&slot->host)) scatter(&slot->host, slot->moved, where, n);
  slot->moved += n;
  rm_bulk_release(rm_session.channel, tag);
}

static void mark_reached(rm_pending *slot, int32_t status) {
  rm_progress *progress = slot->progress;
  if (!progress ||
      __atomic_load_n(&progress->generation, __ATOMIC_RELAXED) != slot->progress_generation)
    return;
  if (status) progress->status = status;
  rm_progress_reached(&progress->done, slot->progress_work);
}

void rm_pending_done(const rm_done *done) {
  pthread_mutex_lock(&lock);
  rm_pending *slot = find(done->token);
  if (slot) {
    if (slot->kind == RM_PENDING_MARK) mark_reached(slot, done->status);
    end(slot, done->status);
  }
  pthread_mutex_unlock(&lock);
}
