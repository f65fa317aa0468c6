/* put.c: putting a record into the sending ring. The path of every posted call: no system call
 * while the flusher is awake.
 * Must not know: how the ring's bytes travel. */
#include <errno.h>
#include <string.h>

#include "internal.h"

static bool size_ok(rm_channel *ch, uint32_t size) {
  if (rm_likely(size >= sizeof(rm_record) && size <= ch->record_max)) return true;
  errno = EMSGSIZE;
  return false;
}

/* Bytes from the open end to the ring's end if the record does not fit there, else 0. */
static uint64_t pad_before(rm_channel *ch, uint64_t need) {
  uint64_t room = ch->ring_bytes - (ch->head & ch->mask);
  return room < need ? room : 0;
}

static bool has_credit(rm_channel *ch, uint64_t bytes) {
  return ch->head + bytes - rm_load(&ch->acked) <= ch->ring_bytes;
}

/* A pad may be 8 bytes short: of its header only op, flags and size are there. */
static void put_pad(rm_channel *ch, uint64_t bytes) {
  rm_record *pad = (rm_record *)(ch->put.ring + (ch->head & ch->mask));
  pad->op = RM_OP_PAD;
  pad->flags = 0;
  pad->size = (uint32_t)bytes;
}

static rm_record *open_record(rm_channel *ch, uint32_t size, uint64_t pad, uint64_t need) {
  if (rm_unlikely(pad)) put_pad(ch, pad);
  uint8_t *at = ch->put.ring + ((ch->head + pad) & ch->mask);
  memset(at + need - RM_ALIGN, 0, RM_ALIGN);
  rm_record *record = (rm_record *)at;
  rm_count(&ch->put.seq, 1);
  *record = (rm_record){.size = size, .seq = ch->put.seq};
  ch->put.open = record;
  ch->put.open_end = ch->head + pad + need;
  return record;
}

/* Called with put.lock, which it keeps. */
static bool wait_credit(rm_channel *ch, uint64_t bytes) {
  rm_count(&ch->credit_waits, 1);
  while (!rm_ended(ch)) {
    uint32_t turn = rm_load_ordered(&ch->credit_turn);
    if (has_credit(ch, bytes)) return true;
    if (rm_drain(ch, true) == 0) rm_credit_sleep(ch, turn);
  }
  return false;
}

static rm_record *begin_locked(rm_channel *ch, uint32_t size, bool waits) {
  uint64_t need = RM_ALIGNED((uint64_t)size), pad = pad_before(ch, need);
  bool room = has_credit(ch, pad + need);
  if (rm_unlikely(!room && waits)) room = wait_credit(ch, pad + need);
  if (rm_likely(room && !rm_ended(ch))) return open_record(ch, size, pad, need);
  rm_lock_give(&ch->put.lock);
  return NULL;
}

rm_record *rm_begin(rm_channel *ch, uint32_t size) {
  if (!size_ok(ch, size)) return NULL;
  rm_lock_take(&ch->put.lock);
  rm_record *record = begin_locked(ch, size, true);
  if (rm_unlikely(!record)) rm_channel_quiet(ch, -1);
  return record;
}

rm_record *rm_try_begin(rm_channel *ch, uint32_t size) {
  if (!size_ok(ch, size) || !rm_lock_try(&ch->put.lock)) return NULL;
  return begin_locked(ch, size, false);
}

void rm_commit_unsent(rm_channel *ch) {
  rm_store(&ch->head, ch->put.open_end);
  rm_lock_give(&ch->put.lock);
}

/* The ordered store pairs with the flusher's "asleep, then look at head again". */
void rm_commit(rm_channel *ch) {
  rm_store_ordered(&ch->head, ch->put.open_end);
  rm_lock_give(&ch->put.lock);
  if (rm_load_ordered(&ch->flusher_asleep)) rm_wake_flusher(ch);
}

void rm_commit_with_bulk(rm_channel *ch) { rm_store(&ch->head, ch->put.open_end); }

int rm_bulk_in_order(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bool last) {
  int error = rm_bulk_lend(ch, tag, bytes, n, !last);
  if (last || error) rm_lock_give(&ch->put.lock);
  return error;
}
