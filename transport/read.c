/* read.c: the reading thread's role: one thread at a time has it, takes in what has arrived, and
 * looks after the peer's silence.
 * Must not know: who takes the role when (wait.c, serve.c), what arrives (arrive.c). */
#include <errno.h>

#include "internal.h"

static __thread const rm_channel *reading __attribute__((tls_model("initial-exec")));

bool rm_reading_here(const rm_channel *ch) { return reading == ch; }

static void leave(rm_channel *ch) {
  reading = NULL;
  rm_store_ordered(&ch->reader, 0);
  if (rm_unlikely(rm_load_ordered(&ch->error))) rm_tell_end(ch);
}

bool rm_read_take(rm_channel *ch) {
  if (rm_load(&ch->reader) || rm_swap(&ch->reader, 1)) return false;
  if (rm_unlikely(rm_load_ordered(&ch->error))) return leave(ch), false;
  reading = ch;
  return true;
}

void rm_read_leave(rm_channel *ch) {
  bool half = ch->rx.landed != ch->rx.coming || ch->rx.bulk_count;
  leave(ch);
  if (!rm_wake_next_leader(ch)) rm_service_wake_if_due(ch, half);
}

/* ---- reading */

/* Never waits: a socket that is full asks nothing, and it is the silence that counts. */
static void ask_if_alive(rm_channel *ch, uint64_t now) {
  rm_store(&ch->asked_ms, now);
  pthread_mutex_lock(&ch->notes.lock);
  ch->notes.ping = true;
  pthread_mutex_unlock(&ch->notes.lock);
  rm_store_ordered(&ch->work, 1);
  if (rm_drain(ch, false) == -EAGAIN) rm_wake_flusher(ch);
}

/* A peer counts as dead only when it was asked and had time to answer: this process may have been
 * stopped itself. */
void rm_check_silence(rm_channel *ch) {
  if (rm_load(&ch->heard) && rm_swap(&ch->heard, 0)) {
    rm_store(&ch->heard_ms, rm_now_ms());
    return;
  }
  uint64_t heard = rm_load(&ch->heard_ms), asked = rm_load(&ch->asked_ms), now = rm_now_ms();
  uint64_t third = ch->silence_ms / 3;
  if (now < heard + third) return;
  bool unanswered = asked > heard && now >= asked + third;
  if (unanswered && now >= heard + ch->silence_ms)
    rm_fail(ch, RM_ESILENT, "nothing was heard of %s for %.1f s: it is stopped or unreachable",
            ch->peer, (double)(now - heard) / 1e3);
  else if (unanswered || asked <= heard)
    ask_if_alive(ch, now);
}

int rm_events_wanted(rm_channel *ch) {
  return RM_READABLE | (rm_load(&ch->held) && !ch->flushes ? RM_WRITABLE : 0);
}

/* Sleeps one tick at most, and watches both ways if nobody else sends what is left to send. */
static void sleep_a_tick(rm_channel *ch) {
  int ready = ch->link->ops->wait(ch->link, rm_events_wanted(ch), (int)ch->tick_ms);
  if (ready & RM_WRITABLE) rm_drain(ch, false);
  if (!ready) rm_check_silence(ch);
}

/* May this thread sleep in receive? Then another looks after the silence and the unsent rest. */
static bool may_sleep_in_receive(rm_channel *ch) {
  return rm_load(&ch->served) && (ch->flushes || !rm_load(&ch->held));
}

long rm_read_some(rm_channel *ch, bool sleep) {
  if (sleep && rm_unlikely(!may_sleep_in_receive(ch))) {
    sleep_a_tick(ch);
    sleep = false;
  }
  long n = ch->link->ops->receive(ch->link, ch, sleep);
  if (rm_likely(n > 0)) {
    if (!rm_load(&ch->heard)) rm_store(&ch->heard, 1);
    rm_count(&ch->rx.stats.recvs, 1);
    rm_count(&ch->rx.stats.bytes_received, (uint64_t)n);
  } else if (n != -EAGAIN && !rm_ended(ch)) {
    rm_fail_link(ch, (int)n);
  }
  return n;
}

void rm_poll(rm_channel *ch) {
  if (rm_ended(ch) || !rm_read_take(ch)) return;
  while (rm_read_some(ch, false) > 0 && !rm_ended(ch)) {
  }
  rm_read_leave(ch);
}
