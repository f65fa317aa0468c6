/* arrive.c: what a link hands in, checked: credits, records, bulk messages, notes. No byte from the
 * peer is trusted; every length and credit is compared with what this side has room for. Runs on
 * the reading thread and never waits.
 * Must not know: frames, sockets. */
#include <string.h>

#include "internal.h"

/* ---- credit */

static void wake_credit_sleepers(rm_channel *ch) {
  rm_add(&ch->credit_turn, 1);
  if (rm_load_ordered(&ch->credit_sleepers)) rm_futex_wake(&ch->credit_turn, INT32_MAX);
}

static bool bulk_credit(rm_channel *ch, unsigned kind, uint8_t released, bool *news) {
  uint32_t acked = ch->bulk_acked[kind], more = (uint8_t)(released - (uint8_t)acked);
  if (!more) return true;
  if (more > rm_load(&ch->bulk_sent[kind]) - acked)
    return rm_in_broken(ch, "credit for %u bulk messages, more than were sent", more);
  rm_store_ordered(&ch->bulk_acked[kind], acked + more);
  return *news = true;
}

static bool ring_credit(rm_channel *ch, uint32_t released, bool *news) {
  uint64_t acked = ch->acked;
  uint32_t more = released - (uint32_t)acked;
  if (!more) return true;
  if (more > rm_load(&ch->tx.sent) - acked || more % RM_ALIGN)
    return rm_in_broken(ch, "credit for %u bytes of records, more than were sent", more);
  rm_store_ordered(&ch->acked, acked + more);
  return *news = true;
}

bool rm_in_credit(rm_channel *ch, rm_credit credit) {
  bool news = false;
  if (!ring_credit(ch, credit.ring, &news) || !bulk_credit(ch, 0, credit.bulk[0], &news) ||
      !bulk_credit(ch, 1, credit.bulk[1], &news))
    return false;
  if (news) wake_credit_sleepers(ch);
  return true;
}

/* ---- records */

void *rm_in_records(rm_channel *ch, size_t n) {
  struct rm_rx *rx = &ch->rx;
  uint64_t place = rx->coming & ch->mask,
           free = ch->ring_bytes - (rx->coming - rm_load(&ch->released));
  if (n == 0 || n % RM_ALIGN || n > free || n > ch->ring_bytes - place) {
    rm_in_broken(ch, "%zu bytes of records where %llu are free", n, (unsigned long long)free);
    return NULL;
  }
  rx->coming += n;
  return rx->ring + place;
}

/* Is the record at rx.parsed whole, and what it says it is? 1 yes, 0 not yet, -1 broken. */
static int check_record(rm_channel *ch, const rm_record *record, uint64_t landed, uint64_t coming) {
  if (landed < 8) return 0;
  bool pad = record->op == RM_OP_PAD;
  uint64_t size = RM_ALIGNED((uint64_t)record->size), left = coming;
  bool ends_ring = ((ch->rx.parsed + size) & ch->mask) == 0;
  if (record->size < (pad ? RM_ALIGN : sizeof *record) || record->size > ch->record_max ||
      size > left || (pad && !ends_ring)) {
    rm_in_broken(ch, "record of operation %u with %u bytes (limit %u, %llu in this frame)",
                 record->op, record->size, ch->record_max, (unsigned long long)left);
    return -1;
  }
  return size <= landed;
}

static void wake_consumer(rm_channel *ch) {
  if (rm_load_ordered(&ch->consumer_waits) && rm_swap(&ch->consumer_waits, 0))
    rm_wake(ch, &ch->consumer);
}

static void give_back(rm_channel *ch) {
  rm_store(&ch->released, ch->rx.parsed);
  if (rm_credit_due(ch)) rm_nudge(ch);
}

static void take_record(rm_channel *ch, const rm_record *record) {
  ch->rx.parsed += RM_ALIGNED((uint64_t)record->size);
  if (record->op == RM_OP_PAD) return;
  ch->rx.last = record;
  ch->rx.last_from = ch->rx.last_to;
  ch->rx.last_to = ch->rx.parsed;
  rm_count(&ch->rx.stats.records_received, 1);
  if (ch->events.on_record) ch->events.on_record(ch->user, record);
}

/* One look at a place in the ring per record; the peer cannot change what has landed. */
static bool take_whole_records(rm_channel *ch) {
  struct rm_rx *rx = &ch->rx;
  while (rx->parsed < rx->landed) {
    const rm_record *record = (const rm_record *)(rx->ring + (rx->parsed & ch->mask));
    int whole = check_record(ch, record, rx->landed - rx->parsed, rx->coming - rx->parsed);
    if (whole < 0) return false;
    if (whole == 0) break;
    take_record(ch, record);
  }
  return true;
}

bool rm_in_records_landed(rm_channel *ch, size_t n) {
  ch->rx.landed += n;
  if (!take_whole_records(ch)) return false;
  if (ch->events.on_record) {
    give_back(ch);
  } else if (ch->ready != ch->rx.parsed) {
    rm_store_ordered(&ch->ready, ch->rx.parsed);
    wake_consumer(ch);
  }
  return true;
}

/* ---- bulk */

static bool window_ok(rm_channel *ch, unsigned kind) {
  return ch->rx.bulk_arrived[kind] - rm_load(&ch->bulk_released[kind]) < ch->bulk_window;
}

rm_preceding rm_bulk_preceding(rm_channel *ch) {
  struct rm_rx *rx = &ch->rx;
  return (rm_preceding){.record = rx->last,
                        .from = rx->last_from,
                        .to = rx->last_to,
                        .alone = rx->last && rm_load(&ch->released) == rx->last_from};
}

void rm_bulk_needed(rm_channel *ch) { ch->rx.bulk_needed = true; }

bool rm_in_bulk(rm_channel *ch, uint32_t tag, size_t n, void **where) {
  unsigned kind = tag != 0;
  *where = NULL;
  if (n > RM_BULK_MAX)
    return rm_in_broken(ch, "bulk message of %zu bytes (limit %u)", n, RM_BULK_MAX);
  if (!window_ok(ch, kind))
    return rm_in_broken(ch, "more than %u bulk messages without credit", ch->bulk_window);
  if (ch->rx.bulk_count == RM_BULK_COMING)
    return rm_in_broken(ch, "more than %u bulk messages at once", RM_BULK_COMING);
  ch->rx.bulk_arrived[kind]++;
  if (!ch->rx.bulk_count) ch->rx.bulk_needed = false;
  if (ch->events.on_bulk) *where = ch->events.on_bulk(ch->user, tag, n);
  if (!*where && n)
    return rm_in_broken(ch, "bulk message of %zu bytes with unknown tag %u", n, tag);
  ch->rx.bulks[(ch->rx.bulk_first + ch->rx.bulk_count++) % RM_BULK_COMING] =
      (struct rm_coming){tag, *where, n};
  return !rm_ended(ch);
}

bool rm_in_bulk_landed(rm_channel *ch) {
  struct rm_rx *rx = &ch->rx;
  struct rm_coming *bulk = &rx->bulks[rx->bulk_first++ % RM_BULK_COMING];
  rx->bulk_count--;
  rm_count(&rx->stats.bulk_received, 1);
  if (ch->events.on_bulk_done) ch->events.on_bulk_done(ch->user, bulk->tag, bulk->where, bulk->n);
  return !rm_ended(ch);
}

bool rm_in_records_wait(const rm_channel *ch) { return ch->rx.bulk_count && !ch->bulk_overlaps; }

void rm_in_returned(rm_channel *ch, uint64_t count) {
  rm_store_ordered(&ch->link->returned, count);
  wake_credit_sleepers(ch);
}

void rm_in_nudge(rm_channel *ch) { rm_nudge(ch); }

/* ---- notes */

static void pong(rm_channel *ch) {
  pthread_mutex_lock(&ch->notes.lock);
  ch->notes.pong = true;
  pthread_mutex_unlock(&ch->notes.lock);
  rm_nudge(ch);
}

/* The peer's words, made fit to print. */
static bool take_bye(rm_channel *ch, const uint8_t *bytes, size_t n) {
  char text[RM_NOTE_MAX + 1];
  for (size_t i = 0; i < n; i++) text[i] = bytes[i] >= ' ' && bytes[i] < 127 ? (char)bytes[i] : '?';
  text[n] = 0;
  rm_fail(ch, RM_EPEER, n ? "%s closed the connection: %s" : "%s closed the connection%s", ch->peer,
          text);
  return false;
}

bool rm_in_note(rm_channel *ch, uint32_t kind, const void *bytes, size_t n) {
  if (kind == RM_NOTE_BYE) return take_bye(ch, bytes, n);
  if (kind == RM_NOTE_PING) pong(ch);
  if (kind == RM_NOTE_URGENT && ch->events.on_urgent) ch->events.on_urgent(ch->user, bytes, n);
  return !rm_ended(ch);
}
