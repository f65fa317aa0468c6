/* frames.c: see frames.h.
 * Must not know: what takes the bytes. */
#include "frames.h"

static uint8_t frame_kind(const rm_parcel *parcel) {
  static const uint8_t notes[] = {[RM_NOTE_URGENT] = RM_FRAME_URGENT,
                                  [RM_NOTE_PING] = RM_FRAME_PING,
                                  [RM_NOTE_PONG] = RM_FRAME_PONG,
                                  [RM_NOTE_BYE] = RM_FRAME_BYE};
  switch (parcel->kind) {
  case RM_PARCEL_RECORDS: return RM_FRAME_RECORDS;
  case RM_PARCEL_BULK: return RM_FRAME_BULK;
  case RM_PARCEL_CREDIT: return RM_FRAME_CREDIT;
  default: return notes[parcel->note];
  }
}

static void add_piece(rm_frames *out, const void *bytes, size_t n) {
  out->pieces[out->count++] = (struct iovec){(void *)bytes, n};
}

void rm_frames_make(rm_frames *out, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  out->next = out->pieces;
  out->count = out->made = 0;
  rm_frames_add(out, parcels, count, credit);
}

void rm_frames_add(rm_frames *out, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  for (unsigned i = 0; i < count; i++) {
    rm_frame *frame = &out->frames[out->made++];
    *frame = (rm_frame){.kind = frame_kind(&parcels[i]),
                        .bulk_released = {credit.bulk[0], credit.bulk[1]},
                        .length = (uint32_t)parcels[i].n,
                        .tag = parcels[i].tag,
                        .ring_released = credit.ring};
    add_piece(out, frame, sizeof *frame);
    if (parcels[i].n) add_piece(out, parcels[i].bytes, parcels[i].n);
  }
}

void rm_frames_gone(rm_frames *out, size_t n) {
  while (out->count && n >= out->next->iov_len) {
    n -= out->next->iov_len;
    out->next++;
    out->count--;
  }
  if (!n) return;
  out->next->iov_base = (uint8_t *)out->next->iov_base + n;
  out->next->iov_len -= n;
}
