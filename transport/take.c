/* take.c: taking records out of the receiving ring in place, and giving room back.
 * Must not know: how they came. */
#include "internal.h"

/* ---- taking records (engine side) */

static const rm_record *next_ready(rm_channel *ch) {
  while (ch->next != rm_load(&ch->ready)) {
    const rm_record *record = (const rm_record *)(ch->rx.ring + (ch->next & ch->mask));
    ch->next += RM_ALIGNED((uint64_t)record->size);
    if (record->op != RM_OP_PAD) return record;
  }
  return NULL;
}

static int wait_ready(rm_channel *ch, uint64_t deadline_us) {
  rm_store(&ch->consumer.state, 0);
  rm_store_ordered(&ch->consumer_waits, 1);
  if (ch->next != rm_load_ordered(&ch->ready)) rm_wake(ch, &ch->consumer);
  int error = rm_wait_quietly(ch, &ch->consumer, deadline_us);
  rm_store(&ch->consumer_waits, 0);
  return error;
}

const rm_record *rm_next(rm_channel *ch, int timeout_ms, int *error) {
  const rm_record *record = next_ready(ch);
  if (record) return record;
  if (rm_unsent(ch)) rm_drain(ch, true);
  uint64_t deadline_us = rm_deadline_us(timeout_ms);
  int failed = 0;
  while (!(record = next_ready(ch)) && !failed) failed = wait_ready(ch, deadline_us);
  if (!record) record = next_ready(ch);
  if (!record && error) *error = failed;
  return record;
}

/* The position that a record in the ring ends at: the only one within a ring's length. */
static uint64_t end_of(rm_channel *ch, const rm_record *record) {
  uint64_t place = (uint64_t)((const uint8_t *)record - ch->rx.ring);
  uint64_t from = ch->released;
  uint64_t start = from + ((place - from) & ch->mask);
  return start + RM_ALIGNED((uint64_t)record->size);
}

void rm_release(rm_channel *ch, const rm_record *record) {
  rm_store(&ch->released, end_of(ch, record));
  if (rm_unlikely(rm_credit_due(ch))) rm_nudge(ch);
}

void rm_bulk_release(rm_channel *ch, uint32_t tag) {
  __atomic_add_fetch(&ch->bulk_released[tag != 0], 1, __ATOMIC_SEQ_CST);
  if (rm_credit_due(ch)) rm_nudge(ch);
}
