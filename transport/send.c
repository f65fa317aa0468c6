/* send.c: handing records, bulk messages, notes and credits to the link: from the waiting caller's
 * own thread, from the flusher, or from a thread that gives credit back.
 * Must not know: what a link does with them. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>

#include "internal.h"

/* ---- what there is to send */

static rm_credit credit_now(rm_channel *ch) {
  return (rm_credit){
      (uint32_t)rm_load(&ch->released),
      {(uint8_t)rm_load(&ch->bulk_released[0]), (uint8_t)rm_load(&ch->bulk_released[1])}};
}

static bool due(uint32_t unreported, uint32_t whole) {
  uint32_t share = whole / RM_CREDIT_SHARE;
  return unreported >= (share ? share : 1);
}

bool rm_credit_due(rm_channel *ch) {
  rm_credit now = credit_now(ch);
  uint32_t told = rm_load(&ch->told_ring), bulk = rm_load(&ch->told_bulk);
  return due(now.ring - told, (uint32_t)ch->ring_bytes) ||
         due((uint8_t)(now.bulk[0] - bulk), ch->bulk_window) ||
         due((uint8_t)(now.bulk[1] - (bulk >> 8)), ch->bulk_window);
}

static void note_told(rm_channel *ch, rm_credit told) {
  rm_store(&ch->told_ring, told.ring);
  rm_store(&ch->told_bulk, told.bulk[0] | (uint32_t)told.bulk[1] << 8);
}

static void add_note(rm_channel *ch, rm_parcel *parcels, unsigned *count, const rm_note *note) {
  rm_note *copy = &ch->tx.notes[*count];
  *copy = *note;
  parcels[(*count)++] =
      (rm_parcel){.kind = RM_PARCEL_NOTE, .note = copy->kind, .bytes = copy->bytes, .n = copy->n};
}

static void add_simple_note(rm_channel *ch, rm_parcel *parcels, unsigned *count, bool *wanted,
                            uint32_t kind) {
  if (!*wanted) return;
  *wanted = false;
  add_note(ch, parcels, count, &(rm_note){.kind = kind});
}

/* Takes waiting notes, leaving room for two runs of records. */
static void take_notes(rm_channel *ch, rm_parcel *parcels, unsigned *count) {
  struct rm_notes *notes = &ch->notes;
  pthread_mutex_lock(&notes->lock);
  add_simple_note(ch, parcels, count, &notes->ping, RM_NOTE_PING);
  add_simple_note(ch, parcels, count, &notes->pong, RM_NOTE_PONG);
  while (notes->count && *count < RM_PARCELS_MAX - 2) {
    add_note(ch, parcels, count, &notes->urgent[notes->first]);
    notes->first = (notes->first + 1) % RM_URGENT_SLOTS;
    notes->count--;
  }
  if (notes->count) rm_store_ordered(&ch->work, 1);
  pthread_mutex_unlock(&notes->lock);
}

static void add_run(rm_channel *ch, rm_parcel *parcels, unsigned *count, uint64_t end) {
  parcels[(*count)++] = (rm_parcel){.kind = RM_PARCEL_RECORDS,
                                    .bytes = ch->put.ring + (ch->tx.sent & ch->mask),
                                    .n = end - ch->tx.sent};
  rm_store(&ch->tx.sent, end);
}

/* The end of the records to send next from sent on: a run that neither crosses the ring's end nor
 * cuts a record. Only a batch beyond RM_BATCH_BYTES has to be walked. */
static uint64_t run_end(rm_channel *ch, uint64_t head) {
  uint64_t sent = ch->tx.sent, wrap = (sent | ch->mask) + 1, end = head < wrap ? head : wrap;
  if (end - sent <= RM_BATCH_BYTES) return end;
  uint64_t at = sent;
  while (at < end && at - sent < RM_BATCH_BYTES)
    at += RM_ALIGNED((uint64_t)((rm_record *)(ch->put.ring + (at & ch->mask)))->size);
  return at;
}

static void take_records(rm_channel *ch, rm_parcel *parcels, unsigned *count, uint64_t head) {
  uint64_t before = ch->tx.sent;
  add_run(ch, parcels, count, run_end(ch, head));
  if (ch->tx.sent < head && !(ch->tx.sent & ch->mask) && ch->tx.sent - before < RM_BATCH_BYTES)
    add_run(ch, parcels, count, run_end(ch, head));
}

/* Fills parcels with what is to be sent next. */
static unsigned gather(rm_channel *ch, rm_parcel *parcels) {
  unsigned count = 0;
  uint64_t head = rm_load_ordered(&ch->head);
  if (rm_load(&ch->work)) {
    rm_store_ordered(&ch->work, 0);
    take_notes(ch, parcels, &count);
  }
  if (ch->tx.sent != head) take_records(ch, parcels, &count, head);
  if (!count && (rm_credit_due(ch) || rm_load(&ch->link->due)))
    parcels[count++] = (rm_parcel){.kind = RM_PARCEL_CREDIT};
  return count;
}

/* ---- sending, under tx.lock */

/* Waits until the link takes more: as a rule so soon that no other thread is asked to read
 * meanwhile. Nothing goes missing: someone else reads meanwhile, or this
 * thread does. */
static void wait_writable(rm_channel *ch) {
  if (ch->link->ops->wait(ch->link, RM_WRITABLE, RM_SOON_MS)) return;
  rm_expect(ch, 1);
  if (!rm_load(&ch->served) && rm_read_take(ch)) {
    int ready = ch->link->ops->wait(ch->link, RM_READABLE | RM_WRITABLE, (int)ch->tick_ms);
    if (ready & RM_READABLE) rm_read_some(ch, false);
    rm_read_leave(ch);
  } else {
    int limit = rm_load(&ch->served) ? (int)ch->tick_ms : RM_UNSERVED_MS;
    ch->link->ops->wait(ch->link, RM_WRITABLE, limit);
  }
  rm_check_silence(ch);
  rm_expect(ch, -1);
}

static void set_held(rm_channel *ch, bool held) {
  if (ch->tx.held == held) return;
  ch->tx.held = held;
  rm_store_ordered(&ch->held, held);
}

/* The peer takes nothing any more. What it sent before is still to be read, and its goodbye says
 * why: the end is the reader's to find. This thread reads for itself where no other does. */
static int read_out(rm_channel *ch, int error) {
  ch->tx.dead = true;
  if (rm_reading_here(ch)) return error;
  uint64_t end_ms = rm_now_ms() + RM_READ_OUT_MS;
  while (!rm_ended(ch) && rm_now_ms() < end_ms) {
    if (rm_read_take(ch)) {
      if (rm_read_some(ch, false) == -EAGAIN) ch->link->ops->wait(ch->link, RM_READABLE, 1);
      rm_read_leave(ch);
    } else {
      sched_yield();
    }
  }
  return rm_fail_link(ch, error);
}

/* Resumes while the link takes something. A socket that was full may have room as soon as the call
 * has returned: the kernel takes in the peer's acknowledgements then. */
static int resume_all(rm_channel *ch) {
  uint64_t taken;
  int error;
  do {
    taken = ch->link->bytes_sent;
    error = ch->link->ops->resume(ch->link);
  } while (error == -EAGAIN && ch->link->bytes_sent != taken && !rm_ended(ch));
  return error;
}

/* Tries again without sleeping until spin_us after the link last took something: its reader is at
 * work, and waking this thread takes longer than the next room takes to come. */
static int try_on(rm_channel *ch) {
  uint64_t end = 0, taken = ch->link->bytes_sent;
  int error = resume_all(ch);
  while (error == -EAGAIN && !rm_ended(ch)) {
    if (!end || ch->link->bytes_sent != taken) end = rm_now_us() + ch->spin_us;
    taken = ch->link->bytes_sent;
    sched_yield();
    error = resume_all(ch);
    if (ch->link->bytes_sent == taken && (rm_beside(ch) || rm_now_us() >= end)) break;
  }
  return error;
}

/* Sees a send through, or leaves it with the link if this thread may not wait. */
static int see_through(rm_channel *ch, int error, bool blocks) {
  if (error == -EAGAIN && blocks) error = try_on(ch);
  while (error == -EAGAIN && blocks && !rm_ended(ch)) {
    wait_writable(ch);
    error = try_on(ch);
    if (error == 0) rm_store(&ch->heard, 1); /* the peer took bytes: it lives */
  }
  set_held(ch, error == -EAGAIN);
  if (error == -EPIPE || error == -ECONNRESET) return read_out(ch, error);
  if (error && error != -EAGAIN) return rm_fail_link(ch, error);
  if (error && rm_ended(ch)) return rm_load(&ch->error);
  return error;
}

static int send_parcels(rm_channel *ch, const rm_parcel *parcels, unsigned count, bool blocks) {
  rm_credit credit = credit_now(ch);
  note_told(ch, credit);
  rm_count(&ch->tx.stats.sends, 1);
  return see_through(ch, ch->link->ops->send(ch->link, parcels, count, credit), blocks);
}

static int drain_locked(rm_channel *ch, bool blocks) {
  if (rm_unlikely(rm_ended(ch))) return rm_load(&ch->error);
  if (ch->tx.dead) return read_out(ch, -EPIPE);
  int error = ch->tx.held ? see_through(ch, ch->link->ops->resume(ch->link), blocks) : 0;
  for (bool more = true; more && !error && !rm_ended(ch); more = rm_unsent(ch)) {
    rm_parcel parcels[RM_PARCELS_MAX];
    unsigned count = gather(ch, parcels);
    if (!count) break;
    error = send_parcels(ch, parcels, count, blocks);
  }
  if (!error && ch->link->corked) error = see_through(ch, ch->link->ops->resume(ch->link), blocks);
  return error ? error : rm_load(&ch->error);
}

/* The last thread to leave an ended link tells so. */
static void unlock(rm_channel *ch) {
  rm_lock_give(&ch->tx.lock);
  if (rm_unlikely(rm_load_ordered(&ch->error))) rm_tell_end(ch);
}

/* Notes and credits that became due while the lock was held, and whose owners did not wait. */
static void after_unlock(rm_channel *ch) {
  int error = 0;
  while (rm_load_ordered(&ch->work) && !error && !rm_ended(ch) && rm_lock_try(&ch->tx.lock)) {
    error = drain_locked(ch, false);
    unlock(ch);
  }
  if (rm_load_ordered(&ch->held)) rm_wake_flusher(ch);
}

int rm_drain(rm_channel *ch, bool blocks) {
  if (blocks)
    rm_lock_take(&ch->tx.lock);
  else if (!rm_lock_try(&ch->tx.lock))
    return -EAGAIN;
  int error = drain_locked(ch, blocks);
  unlock(ch);
  if (rm_load_ordered(&ch->work) || rm_load(&ch->held)) after_unlock(ch);
  return error;
}

int rm_flush(rm_channel *ch) { return rm_drain(ch, !rm_reading_here(ch)); }

void rm_try_flush(rm_channel *ch) {
  if (rm_drain(ch, false) == -EAGAIN) rm_wake_flusher(ch);
}

void rm_nudge(rm_channel *ch) {
  rm_store_ordered(&ch->work, 1);
  bool alone = !ch->flushes && !rm_reading_here(ch); /* nobody else would send the rest */
  if (rm_drain(ch, alone) == -EAGAIN && rm_load_ordered(&ch->held)) rm_wake_flusher(ch);
}

/* Whoever holds the lock lets go of it soon, as the channel has ended; but for a moment only. */
static bool lock_for_bye(rm_channel *ch) {
  uint64_t end_ms = rm_now_ms() + RM_BYE_MS;
  while (!rm_lock_try(&ch->tx.lock)) {
    if (rm_now_ms() > end_ms) return false;
    sched_yield();
  }
  return true;
}

void rm_say_bye(rm_channel *ch, const char *why) {
  if (!lock_for_bye(ch)) return;
  rm_parcel bye = {.kind = RM_PARCEL_NOTE, .note = RM_NOTE_BYE, .bytes = why, .n = strlen(why)};
  if (bye.n > RM_NOTE_MAX) bye.n = RM_NOTE_MAX;
  if (!ch->tx.held) ch->link->ops->send(ch->link, &bye, 1, credit_now(ch));
  ch->tx.held = true; /* nothing may follow a bye */
  unlock(ch);
}

/* ---- bulk */

static bool take_bulk_credit(rm_channel *ch, unsigned kind) {
  uint32_t sent = rm_load(&ch->bulk_sent[kind]);
  do
    if (sent - rm_load(&ch->bulk_acked[kind]) >= ch->bulk_window) return false;
  while (!__atomic_compare_exchange_n(&ch->bulk_sent[kind], &sent, sent + 1, false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
  return true;
}

static int wait_bulk_credit(rm_channel *ch, unsigned kind) {
  if (take_bulk_credit(ch, kind)) return 0;
  __atomic_fetch_add(&ch->credit_waits, 1, __ATOMIC_RELAXED);
  while (!rm_ended(ch)) {
    uint32_t turn = rm_load_ordered(&ch->credit_turn);
    if (take_bulk_credit(ch, kind)) return 0;
    if (rm_drain(ch, true) == 0) rm_credit_sleep(ch, turn);
  }
  return rm_load(&ch->error);
}

/* Behind the records before it, together with the last of them. */
static int send_bulk_locked(rm_channel *ch, const rm_parcel *bulk) {
  rm_parcel parcels[RM_PARCELS_MAX];
  unsigned count = 0;
  int error = ch->tx.dead || ch->tx.held ? drain_locked(ch, true) : 0;
  while (!error && !rm_ended(ch)) {
    count = gather(ch, parcels);
    if (ch->tx.sent == rm_load(&ch->head) && count < RM_PARCELS_MAX) break;
    if (count) error = send_parcels(ch, parcels, count, true);
  }
  if (error || rm_ended(ch)) return error ? error : rm_load(&ch->error);
  parcels[count++] = *bulk;
  rm_count(&ch->tx.stats.bulk_sent, 1);
  return send_parcels(ch, parcels, count, true);
}

/* *lent: how many messages had been lent then. */
static int send_bulk(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bool more,
                     uint64_t *lent) {
  rm_parcel bulk = {.kind = RM_PARCEL_BULK, .tag = tag, .bytes = bytes, .n = n, .more = more};
  if (n > RM_BULK_MAX) return -EMSGSIZE;
  int error = wait_bulk_credit(ch, tag != 0);
  if (error) return error;
  rm_lock_take(&ch->tx.lock);
  error = send_bulk_locked(ch, &bulk);
  *lent = rm_load(&ch->link->lent);
  unlock(ch);
  if (rm_load_ordered(&ch->work)) after_unlock(ch);
  return error;
}

static bool returned(rm_channel *ch, uint64_t lent) {
  return rm_load_ordered(&ch->link->returned) >= lent || rm_ended(ch);
}

/* Looks for itself first: the answer is a round trip away. */
static int wait_returned(rm_channel *ch, uint64_t lent) {
  if (rm_likely(returned(ch, lent))) return rm_load(&ch->error);
  rm_drain(ch, true);
  if (returned(ch, lent)) return rm_load(&ch->error);
  uint64_t end = rm_now_us() + ch->spin_us;
  unsigned looks = 0;
  do {
    rm_poll(ch);
    if (!returned(ch, lent)) sched_yield();
  } while (!returned(ch, lent) && !rm_beside(ch) && (++looks % RM_SPIN_LOOKS || rm_now_us() < end));
  while (!returned(ch, lent)) {
    uint32_t turn = rm_load_ordered(&ch->credit_turn);
    if (returned(ch, lent) || rm_drain(ch, true) != 0) continue;
    /* Another thread would first have to be woken. */
    if (!rm_read_for_turn(ch, turn)) rm_credit_sleep(ch, turn);
  }
  return rm_load(&ch->error);
}

/* The bytes are their owner's again also where it failed. */
static int settled(rm_channel *ch, int error) {
  if (rm_unlikely(error && rm_ended(ch))) rm_channel_quiet(ch, -1);
  return error;
}

int rm_bulk(rm_channel *ch, uint32_t tag, const void *bytes, size_t n) {
  uint64_t lent = 0;
  int error = send_bulk(ch, tag, bytes, n, false, &lent);
  return settled(ch, error ? error : wait_returned(ch, lent));
}

int rm_bulk_lend(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bool more) {
  uint64_t lent;
  return settled(ch, send_bulk(ch, tag, bytes, n, more, &lent));
}

int rm_bulk_returned(rm_channel *ch) {
  return settled(ch, wait_returned(ch, rm_load(&ch->link->lent)));
}

int rm_register(rm_channel *ch, void *at, size_t n) {
  return ch->link->ops->memory ? ch->link->ops->memory(ch->link, ch, at, n, true) : 0;
}

bool rm_takes_dmabuf(rm_channel *ch) { return ch->link->ops->dmabuf; }

int rm_register_dmabuf(rm_channel *ch, uint64_t at, size_t n, int fd, uint64_t offset) {
  return ch->link->ops->dmabuf ? ch->link->ops->dmabuf(ch->link, at, n, fd, offset) : -EOPNOTSUPP;
}

bool rm_moves_alone(rm_channel *ch, uint64_t at, size_t n) {
  return ch->link->ops->moves_alone && ch->link->ops->moves_alone(ch->link, at, n);
}

void rm_deregister(rm_channel *ch, void *at, size_t n) {
  if (ch->link->ops->memory) ch->link->ops->memory(ch->link, ch, at, n, false);
}

/* ---- notes */

bool rm_note_put(rm_channel *ch, uint32_t kind, const void *bytes, size_t n) {
  struct rm_notes *notes = &ch->notes;
  pthread_mutex_lock(&notes->lock);
  bool room = notes->count < RM_URGENT_SLOTS;
  if (room) {
    rm_note *note = &notes->urgent[(notes->first + notes->count++) % RM_URGENT_SLOTS];
    note->kind = kind;
    note->n = (uint32_t)n;
    memcpy(note->bytes, bytes, n);
  }
  pthread_mutex_unlock(&notes->lock);
  return room;
}

int rm_channel_urgent(rm_channel *ch, const void *bytes, size_t n) {
  if (n > RM_URGENT_MAX) return -EMSGSIZE;
  while (!rm_ended(ch)) {
    if (rm_note_put(ch, RM_NOTE_URGENT, bytes, n)) {
      rm_nudge(ch);
      return rm_load(&ch->error);
    }
    if (rm_reading_here(ch)) return -EAGAIN;
    rm_drain(ch, true);
  }
  return rm_load(&ch->error);
}

/* ---- the flusher: sends what gathers while its last send is under way */

void rm_wake_flusher(rm_channel *ch) {
  if (ch->flushes && rm_swap(&ch->flusher_asleep, 0)) rm_futex_wake(&ch->flusher_asleep, 1);
}

static bool flusher_has_work(rm_channel *ch) {
  return rm_load_ordered(&ch->head) != rm_load(&ch->tx.sent) || rm_load_ordered(&ch->work) ||
         rm_load_ordered(&ch->held);
}

/* A batch thread that is woken does not preempt the poster that wakes it: it sends more at once. */
static void be_humble(void) {
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
  prctl(PR_SET_TIMERSLACK, RM_TIMER_SLACK_NS);
}

static void flusher_sleep(rm_channel *ch) {
  rm_store_ordered(&ch->flusher_asleep, 1);
  if (!flusher_has_work(ch) && !rm_ended(ch)) rm_futex_wait(&ch->flusher_asleep, 1, -1);
  rm_store_ordered(&ch->flusher_asleep, 0);
}

/* While calls keep coming it naps between sends, awake in the posters' eyes: they make no system
 * call. It sleeps, to be woken by the next post, once a nap brought nothing. */
void *rm_flusher_run(void *channel) {
  rm_channel *ch = channel;
  be_humble();
  while (!rm_ended(ch)) {
    if (!flusher_has_work(ch)) flusher_sleep(ch);
    rm_drain(ch, true);
    rm_futex_wait_us(&ch->flusher_asleep, 0, RM_NAP_US);
  }
  return NULL;
}
