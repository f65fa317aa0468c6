/* fail.c: how a channel ends: the first failure is kept, told to the peer if it can be, the link is
 * stopped, everyone who waits is woken. Once the failure is kept no thread begins to send or to
 * receive (drain_locked, rm_read_take); the last one to leave off tells the end, so that whoever
 * hears of it may free memory that was being sent or received into. Cold.
 * Must not know: who waits for what. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static void wake_all(rm_channel *ch) {
  rm_waiters_end(ch);
  rm_add(&ch->credit_turn, 1);
  rm_futex_wake(&ch->credit_turn, INT32_MAX);
  rm_wake_flusher(ch);
  rm_service_wake(ch);
}

/* Once this side is closing, however the connection ends is the end that was asked for. */
static bool keep_first(rm_channel *ch, int error, const char *why) {
  char closed[sizeof ch->why];
  snprintf(closed, sizeof closed, "connection to %s was closed on this side", ch->peer);
  bool closing = rm_load(&ch->closing);
  if (closing) error = RM_ECLOSED, why = closed;
  pthread_mutex_lock(&ch->fail_lock);
  bool first = ch->error == 0;
  if (first) {
    snprintf(ch->why, sizeof ch->why, "%s", why);
    rm_store_ordered(&ch->error, error);
  }
  pthread_mutex_unlock(&ch->fail_lock);
  return first;
}

/* Has every thread left off? One that reads or sends looks again as it leaves (read.c: leave,
 * send.c: unlock), this very one, too. */
static bool is_left(rm_channel *ch) {
  if (!rm_load_ordered(&ch->stopped) || rm_load_ordered(&ch->reader)) return false;
  if (!rm_lock_try(&ch->tx.lock)) return false;
  rm_lock_give(&ch->tx.lock);
  return true;
}

void rm_tell_end(rm_channel *ch) {
  if (!is_left(ch) || rm_swap(&ch->telling, 1)) return;
  if (ch->events.on_end) ch->events.on_end(ch->user, ch->error, ch->why);
  rm_store_ordered(&ch->told, 1);
  rm_futex_wake(&ch->told, INT32_MAX);
}

/* The error stands before the peer hears of it: its answer must not be taken for the cause. */
int rm_fail_text(rm_channel *ch, int error, const char *bye, const char *why) {
  if (rm_ended(ch) || !keep_first(ch, error, why)) return rm_load(&ch->error);
  if (bye) rm_say_bye(ch, bye);
  ch->link->ops->stop(ch->link);
  wake_all(ch);
  rm_store_ordered(&ch->stopped, 1);
  rm_tell_end(ch);
  return ch->error;
}

/* The thread that reads cannot wait for itself. */
void rm_channel_quiet(rm_channel *ch, int timeout_ms) {
  uint64_t deadline_us = rm_deadline_us(timeout_ms);
  while (!rm_load(&ch->told) && !rm_reading_here(ch) && rm_now_us() < deadline_us)
    rm_futex_wait(&ch->told, 0, timeout_ms);
}

int rm_fail(rm_channel *ch, int error, const char *format, ...) {
  char text[sizeof ch->why];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return rm_fail_text(ch, error, NULL, text);
}

int rm_fail_link(rm_channel *ch, int error) {
  if (error == RM_EPEER) return rm_fail(ch, error, "%s closed the connection", ch->peer);
  if (error == -ECONNRESET || error == -EPIPE)
    return rm_fail(ch, RM_EPEER, "%s broke the connection off: it died or was stopped", ch->peer);
  if (error == -ETIMEDOUT || error == -EHOSTUNREACH)
    return rm_fail(ch, RM_ESILENT, "%s cannot be reached any more: %s", ch->peer, strerror(-error));
  return rm_fail(ch, error, "connection to %s failed: %s", ch->peer, strerror(-error));
}

void rm_in_cut_off(rm_channel *ch, size_t left) {
  rm_fail(ch, RM_EPEER, "connection to %s ended inside a message (%zu bytes or more are missing)",
          ch->peer, left ? left : 1);
}

bool rm_in_broken(rm_channel *ch, const char *format, ...) {
  char detail[160], text[sizeof ch->why];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(detail, sizeof detail, format, arguments);
  va_end(arguments);
  snprintf(text, sizeof text, "%s broke the protocol: %s", ch->peer, detail);
  rm_fail_text(ch, RM_EPROTO, detail, text);
  return false;
}

int rm_channel_error(rm_channel *ch, const char **why) {
  int error = rm_load(&ch->error);
  if (why) *why = error ? ch->why : "";
  return error;
}
