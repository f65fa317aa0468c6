/* wait.c: waiting for a reply. The first waiter leads: it reads for everyone, straight from its own
 * receive call, so that a waiting call costs one send and one receive, as in a raw ping-pong. The
 * others sleep; a leader that leaves makes one of them leader.
 * Must not know: what arrives, what is waited for. */
#include <errno.h>
#include <sched.h>

#include "internal.h"

/* ---- handing the reading on */

/* States of rm_waiter beyond RM_WOKEN. */
enum { WAITING = 0, SLEEPING = 2, TO_LEAD = 3 };

static bool swap_state(rm_waiter *w, uint32_t from, uint32_t to) {
  return __atomic_compare_exchange_n(&w->state, &from, to, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_ACQUIRE);
}

static bool make_leader(rm_waiter *w) {
  if (swap_state(w, WAITING, TO_LEAD)) return true;
  if (!swap_state(w, SLEEPING, TO_LEAD)) return false;
  rm_futex_wake(&w->state, 1);
  return true;
}

bool rm_wake_next_leader(rm_channel *ch) {
  if (!rm_load_ordered(&ch->sleepers)) return false;
  bool found = false;
  pthread_mutex_lock(&ch->wait_lock);
  for (rm_waiter *w = ch->waiters; w && !found; w = w->next) found = make_leader(w);
  pthread_mutex_unlock(&ch->wait_lock);
  return found;
}

/* Error is set: a waiter that has not slept yet sees it or finds its word changed. */
void rm_waiters_end(rm_channel *ch) {
  pthread_mutex_lock(&ch->wait_lock);
  for (rm_waiter *w = ch->waiters; w; w = w->next)
    if (swap_state(w, SLEEPING, WAITING)) rm_futex_wake(&w->state, 1);
  pthread_mutex_unlock(&ch->wait_lock);
}

/* ---- waiting */

static bool over(rm_channel *ch, rm_waiter *w) {
  return rm_load(&w->state) == RM_WOKEN || rm_ended(ch);
}

/* Milliseconds left, for sleeping: at most a tick; 0 when the deadline has passed. */
static int sleep_limit(rm_channel *ch, uint64_t deadline_us) {
  uint64_t now = rm_now_us();
  if (now >= deadline_us) return 0;
  uint64_t left = (deadline_us - now + 999) / 1000;
  return left < ch->tick_ms ? (int)left : (int)ch->tick_ms;
}

/* A consumer that was woken before what it needs is there reads on. */
static bool done(rm_channel *ch, rm_waiter *w) {
  if (!over(ch, w)) return false;
  bool lacks = w == &ch->consumer && ch->rx.bulk_count && ch->rx.bulk_needed;
  return !lacks || rm_ended(ch);
}

/* Asked now and then: where a clock is read by a system call, each look would cost two of them. */
static bool spun_enough(rm_channel *ch, uint64_t *end) {
  uint64_t now = rm_now_us();
  if (!*end) *end = now + ch->spin_us;
  return now >= *end;
}

/* Is the peer on this processor, which only sleeping gives it now? Asked once in each wait: after
 * a first yield, or after RM_APART_LOOKS where the last answer was no. */
static bool gives_way(rm_channel *ch, unsigned vain) {
  if (vain != (ch->apart ? RM_APART_LOOKS : 1)) return false;
  ch->apart = !rm_beside(ch);
  return !ch->apart;
}

/* Reads without sleeping until spin_us after something last came: then it was in vain. Yielding
 * lets a peer on this processor answer; where it has another a yield only delays the next look, and
 * the first few do without. If it is here and a yield did not let it answer, only sleeping does; if
 * one yield did, the next wait begins with it. */
static bool look_in_vain(rm_channel *ch, rm_waiter *w) {
  bool yielded = ch->yields_first;
  uint64_t end = 0;
  unsigned vain = 0;
  ch->yields_first = false;
  if (yielded) sched_yield();
  while (!done(ch, w)) {
    if (rm_read_some(ch, false) != -EAGAIN) {
      if (!done(ch, w)) end = vain = 0;
      continue;
    }
    if (gives_way(ch, vain)) return false;
    if (!ch->apart || vain >= RM_APART_LOOKS) sched_yield();
    if (++vain % RM_SPIN_LOOKS == 0 && spun_enough(ch, &end)) return true;
  }
  ch->yields_first = yielded ? vain == 0 : vain == 1 && !ch->apart && rm_beside(ch);
  return false;
}

/* Sometimes the scheduler hands a yielded processor to no one, and the peer only runs once this
 * thread sleeps: so looking is left out for a few waits after it was in vain. */
static void spin(rm_channel *ch, rm_waiter *w) {
  if (ch->spin_rest && ch->spin_rest--) return;
  bool vain = look_in_vain(ch, w), more = ch->spin_vain < RM_SPIN_VAIN_MAX;
  ch->spin_vain = vain ? ch->spin_vain + more : 0;
  ch->spin_rest = (1u << ch->spin_vain) - 1;
}

static bool lead_once(rm_channel *ch, uint64_t deadline_us) {
  if (deadline_us == UINT64_MAX) return rm_read_some(ch, true), true;
  int limit = sleep_limit(ch, deadline_us);
  int ready = ch->link->ops->wait(ch->link, rm_events_wanted(ch), limit);
  if (ready & RM_WRITABLE) rm_drain(ch, false);
  if (ready & RM_READABLE) return rm_read_some(ch, false), true;
  if (limit) rm_check_silence(ch);
  return limit != 0;
}

/* Reads for everyone until w is woken. The rest of a payload is on its way: it is looked for again.
 */
static void lead(rm_channel *ch, rm_waiter *w, uint64_t deadline_us) {
  rm_store(&ch->leaders, ch->leaders + 1);
  if (ch->spin_us && !done(ch, w)) spin(ch, w);
  while (!done(ch, w) && lead_once(ch, deadline_us))
    if (ch->spin_us && ch->rx.bulk_count) look_in_vain(ch, w);
  rm_read_leave(ch);
}

static void enlist(rm_channel *ch, rm_waiter *w) {
  pthread_mutex_lock(&ch->wait_lock);
  w->previous = NULL;
  w->next = ch->waiters;
  if (w->next) w->next->previous = w;
  ch->waiters = w;
  pthread_mutex_unlock(&ch->wait_lock);
  rm_add(&ch->sleepers, 1);
}

static void delist(rm_channel *ch, rm_waiter *w) {
  rm_add(&ch->sleepers, -1);
  pthread_mutex_lock(&ch->wait_lock);
  if (w->next) w->next->previous = w->previous;
  if (w->previous)
    w->previous->next = w->next;
  else
    ch->waiters = w->next;
  pthread_mutex_unlock(&ch->wait_lock);
}

/* Sleeps until woken, made leader, or a limit; the state may have changed before it sleeps. */
static void sleep_listed(rm_channel *ch, rm_waiter *w, int limit) {
  if (!swap_state(w, WAITING, SLEEPING)) return;
  if (!rm_ended(ch)) rm_futex_wait(&w->state, SLEEPING, limit);
  swap_state(w, SLEEPING, WAITING);
}

/* Waits while another thread leads. Afterwards w is not asked to lead any more. */
static void follow(rm_channel *ch, rm_waiter *w, uint64_t deadline_us) {
  int limit = deadline_us == UINT64_MAX ? -1 : sleep_limit(ch, deadline_us);
  enlist(ch, w);
  if (!rm_load_ordered(&ch->reader) || limit == 0)
    ; /* the leader left meanwhile: lead */
  else
    sleep_listed(ch, w, limit);
  delist(ch, w);
  swap_state(w, TO_LEAD, WAITING);
}

static int result_of(rm_channel *ch, rm_waiter *w) {
  if (rm_load(&w->state) == RM_WOKEN) return 0;
  int error = rm_load(&ch->error);
  return error ? error : RM_ETIMEOUT;
}

/* Waits with nothing left to send. A waiter that gives up may have been asked to lead: it hands
 * that on. At the end a reader may still be in a callback that wakes w, or be filling what w waits
 * for. */
int rm_wait_quietly(rm_channel *ch, rm_waiter *w, uint64_t deadline_us) {
  while (!over(ch, w)) {
    if (rm_read_take(ch))
      lead(ch, w, deadline_us);
    else
      follow(ch, w, deadline_us);
    if (deadline_us != UINT64_MAX && rm_now_us() >= deadline_us) break;
  }
  if (!rm_load_ordered(&ch->reader)) rm_wake_next_leader(ch);
  if (rm_ended(ch)) rm_channel_quiet(ch, -1);
  return result_of(ch, w);
}

uint64_t rm_deadline_us(int timeout_ms) {
  return timeout_ms < 0 ? UINT64_MAX : rm_now_us() + (uint64_t)timeout_ms * 1000;
}

int rm_wait(rm_channel *ch, rm_waiter *w, int timeout_ms) {
  __atomic_fetch_add(&ch->waits, 1, __ATOMIC_RELAXED);
  /* Sending may have to wait for the peer: with a deadline that is left to the flusher. */
  bool may_wait = timeout_ms < 0 || !ch->flushes;
  if (rm_drain(ch, may_wait) == -EAGAIN) rm_wake_flusher(ch);
  return rm_wait_quietly(ch, w, rm_deadline_us(timeout_ms));
}

/* After the exchange the waiter may be gone: its word may be woken, nothing of it read. */
void rm_wake(rm_channel *ch, rm_waiter *w) {
  (void)ch;
  if (rm_swap(&w->state, RM_WOKEN) == SLEEPING) rm_futex_wake(&w->state, 1);
}

/* ---- waiting for credit */

bool rm_read_for_turn(rm_channel *ch, uint32_t turn) {
  if (!rm_read_take(ch)) return false;
  if (rm_load_ordered(&ch->credit_turn) == turn) rm_read_some(ch, true);
  rm_read_leave(ch);
  return true;
}

void rm_credit_sleep(rm_channel *ch, uint32_t turn) {
  rm_expect(ch, 1);
  rm_add(&ch->credit_sleepers, 1);
  if (rm_load(&ch->served)) {
    rm_futex_wait(&ch->credit_turn, turn, (int)ch->tick_ms);
  } else if (!rm_read_for_turn(ch, turn)) {
    rm_futex_wait(&ch->credit_turn, turn, RM_UNSERVED_MS);
  }
  rm_add(&ch->credit_sleepers, -1);
  rm_expect(ch, -1);
}
