/* read.c: the reading thread's role: one thread at a time has it, takes in what has arrived, and
 * looks after the peer's silence.
 * Must not know: who takes the role when (wait.c, serve.c), what arrives (arrive.c). */
#include <errno.h>

#include "internal.h"

static __thread const rm_channel *reading;

bool rm_reading_here(const rm_channel *ch) { return reading == ch; }

bool rm_read_take(rm_channel *ch) {
  if (rm_load(&ch->reader) || rm_swap(&ch->reader, 1)) return false;
  reading = ch;
  return true;
}

void rm_read_leave(rm_channel *ch) {
  bool half = ch->rx.landed != ch->rx.coming || ch->rx.bulk_under_way;
  reading = NULL;
  rm_store_ordered(&ch->reader, 0);
  if (!rm_wake_next_leader(ch)) rm_service_wake_if_due(ch, half);
}

/* ---- reading */

static void ask_if_alive(rm_channel *ch, uint64_t now) {
  ch->asked_ms = now;
  pthread_mutex_lock(&ch->notes.lock);
  ch->notes.ping = true;
  pthread_mutex_unlock(&ch->notes.lock);
  rm_nudge(ch);
}

/* Nothing came for a tick. */
void rm_check_silence(rm_channel *ch) {
  uint64_t now = rm_now_ms(), heard = rm_load(&ch->heard_ms);
  uint64_t silent = now > heard ? now - heard : 0;
  if (silent >= ch->silence_ms)
    rm_fail(ch, RM_ESILENT, "nothing was heard of %s for %.1f s: it is stopped or unreachable",
            ch->peer, (double)silent / 1e3);
  else if (silent >= ch->silence_ms / 3 && now - ch->asked_ms >= ch->silence_ms / 3)
    ask_if_alive(ch, now);
}

int rm_events_wanted(rm_channel *ch) {
  return RM_READABLE | (rm_load(&ch->held) && !ch->flushes ? RM_WRITABLE : 0);
}

/* With bytes left to send and nobody else to send them, the reading thread watches both ways. */
static void sleep_both_ways(rm_channel *ch) {
  int ready = ch->link->ops->wait(ch->link, rm_events_wanted(ch), (int)ch->tick_ms);
  if (ready & RM_WRITABLE) rm_drain(ch, false);
  if (!ready) rm_check_silence(ch);
}

long rm_read_some(rm_channel *ch, bool sleep) {
  if (sleep && rm_unlikely(rm_load(&ch->held) && !ch->flushes)) {
    sleep_both_ways(ch);
    sleep = false;
  }
  long n = ch->link->ops->receive(ch->link, ch, sleep);
  if (rm_likely(n > 0)) {
    rm_store(&ch->heard_ms, rm_now_ms());
    rm_count(&ch->rx.stats.recvs, 1);
    rm_count(&ch->rx.stats.bytes_received, (uint64_t)n);
  } else if (n == -EAGAIN) {
    if (sleep) rm_check_silence(ch);
  } else if (!rm_ended(ch)) {
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
