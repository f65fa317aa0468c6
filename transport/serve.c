/* serve.c: the service thread: reads while no waiter does. It sleeps on a futex while waiters lead
 * (the data would else wake two threads for each call) and on the link while none does.
 * Must not know: what arrives. */
#include "internal.h"

void rm_service_wake(rm_channel *ch) {
  if (rm_swap(&ch->park, RM_PARK_NONE)) rm_futex_wake(&ch->park, 1);
}

/* The service thread takes over at once when it sleeps for good, or when something is expected or
 * is half here; else its brief sleep ends by itself. */
void rm_service_wake_if_due(rm_channel *ch, bool half) {
  uint32_t park = rm_load_ordered(&ch->park);
  if (park == RM_PARK_NONE) return;
  if (park == RM_PARK_DEEP || half || rm_load(&ch->held) || rm_load_ordered(&ch->expected) > 0)
    rm_service_wake(ch);
}

void rm_expect(rm_channel *ch, int change) {
  if (rm_add(&ch->expected, change) > 0 && change > 0 && !rm_load_ordered(&ch->reader) &&
      rm_load_ordered(&ch->park))
    rm_service_wake(ch);
}

/* ---- the service thread */

static bool may_park(rm_channel *ch, uint32_t how) {
  if (rm_ended(ch)) return false;
  return rm_load_ordered(&ch->reader) ||
         (how == RM_PARK_BRIEF && rm_load_ordered(&ch->expected) <= 0);
}

/* The leader sleeps without a limit: its peer's silence is looked after here. */
static void park_deep(rm_channel *ch) {
  rm_futex_wait(&ch->park, RM_PARK_DEEP, (int)ch->tick_ms);
  rm_check_silence(ch);
}

/* us: of a brief sleep. */
static void park(rm_channel *ch, uint32_t how, unsigned us) {
  rm_store_ordered(&ch->park, how);
  if (may_park(ch, how)) {
    if (how == RM_PARK_DEEP)
      park_deep(ch);
    else
      rm_futex_wait_us(&ch->park, how, us);
  }
  rm_store_ordered(&ch->park, RM_PARK_NONE);
}

/* Sleeps on the link, then reads unless a waiter took the lead. */
static void serve_once(rm_channel *ch) {
  int ready = ch->link->ops->wait(ch->link, rm_events_wanted(ch), (int)ch->tick_ms);
  if (ready & RM_WRITABLE) rm_drain(ch, false);
  if (!rm_read_take(ch)) return;
  if (ready & RM_READABLE)
    rm_read_some(ch, false);
  else if (!ready)
    rm_check_silence(ch);
  rm_read_leave(ch);
}

/* Changes with every waiter, also with one whose reply this thread read before it could lead: on a
 * processor that it shares with the peer that is the rule. */
static uint32_t waiters_seen(rm_channel *ch) {
  return rm_load(&ch->leaders) + (uint32_t)__atomic_load_n(&ch->waits, __ATOMIC_RELAXED);
}

static unsigned longer(unsigned grace) {
  return 2 * grace < RM_GRACE_MAX_US ? 2 * grace : RM_GRACE_MAX_US;
}

/* While waiters lead: brief sleeps, longer ones as waiters keep coming, a deep one once one leader
 * stays. When none came during a brief sleep, or something is expected: serve. */
static void serve(rm_channel *ch) {
  uint32_t seen = waiters_seen(ch);
  unsigned grace = RM_GRACE_US;
  while (!rm_ended(ch)) {
    uint32_t waiters = waiters_seen(ch);
    bool led = rm_load_ordered(&ch->reader), news = waiters != seen;
    seen = waiters;
    if (!led && (!news || rm_load_ordered(&ch->expected) > 0))
      serve_once(ch), grace = RM_GRACE_US;
    else if (news)
      park(ch, RM_PARK_BRIEF, grace), grace = longer(grace);
    else
      park(ch, RM_PARK_DEEP, 0), seen = waiters - 1; /* the one that left counts as news */
  }
}

int rm_read_loop(rm_channel *ch) {
  rm_store_ordered(&ch->served, 1);
  serve(ch);
  return rm_load(&ch->error);
}

void *rm_service_run(void *channel) {
  rm_read_loop(channel);
  return NULL;
}
