/* stream.c: see stream.h. Payloads of records and bulk messages go straight to where they belong,
 * but for the part that came in the same read as their header.
 * Must not know: sockets, threads. */
#include "stream.h"

#include <string.h>

unsigned rm_stream_room(rm_stream *in, struct iovec piece[2]) {
  if (in->begin) {
    memmove(in->staging, in->staging + in->begin, in->end - in->begin);
    in->end -= in->begin;
    in->begin = 0;
  }
  unsigned count = 0;
  if (in->left) piece[count++] = (struct iovec){in->to, in->left};
  piece[count++] = (struct iovec){in->staging + in->end, RM_STAGING_BYTES - in->end};
  return count;
}

bool rm_stream_inside(const rm_stream *in) {
  return in->left || in->asked_n || in->end != in->begin;
}

/* n more bytes of the payload under way are in place. */
static bool landed(rm_stream *in, rm_channel *ch, size_t n) {
  in->to += n;
  in->left -= n;
  if (in->frame.kind == RM_FRAME_RECORDS) return rm_in_records_landed(ch, n);
  return in->left || rm_in_bulk_landed(ch);
}

static bool begin_payload(rm_stream *in, rm_channel *ch) {
  in->begin += sizeof in->frame;
  in->left = in->frame.length;
  size_t here = in->end - in->begin, n = here < in->left ? here : in->left;
  if (n) memcpy(in->to, in->staging + in->begin, n);
  in->begin += n;
  return (n == 0 && in->left) || landed(in, ch, n);
}

static bool begin_records(rm_stream *in, rm_channel *ch) {
  in->to = rm_in_records(ch, in->frame.length);
  return in->to && begin_payload(in, ch);
}

static bool begin_bulk(rm_stream *in, rm_channel *ch) {
  void *where;
  if (!rm_in_bulk(ch, in->frame.tag, in->frame.length, &where)) return false;
  in->to = where;
  return begin_payload(in, ch);
}

static uint32_t note_kind(const rm_frame *frame) {
  switch (frame->kind) {
  case RM_FRAME_URGENT: return RM_NOTE_URGENT;
  case RM_FRAME_PING: return RM_NOTE_PING;
  case RM_FRAME_PONG: return RM_NOTE_PONG;
  default: return RM_NOTE_BYE;
  }
}

static uint32_t longest(uint8_t kind) {
  switch (kind) {
  case RM_FRAME_URGENT: return RM_URGENT_MAX;
  case RM_FRAME_BYE: return RM_NOTE_MAX;
  case RM_FRAME_PLACED: return sizeof(rm_placed);
  default: return 0;
  }
}

static bool take_note(rm_stream *in, rm_channel *ch) {
  const uint8_t *bytes = in->staging + in->begin + sizeof in->frame;
  in->begin += sizeof in->frame + in->frame.length;
  return in->frame.kind == RM_FRAME_CREDIT ||
         rm_in_note(ch, note_kind(&in->frame), bytes, in->frame.length);
}

static bool has_room_of_its_own(const rm_frame *frame) {
  return frame->kind == RM_FRAME_RECORDS || frame->kind == RM_FRAME_BULK ||
         frame->kind == RM_FRAME_LANDED;
}

/* ---- between ends that share memory */

static bool take_placed(rm_stream *in, rm_channel *ch) {
  rm_placed from;
  memcpy(&from, in->staging + in->begin + sizeof in->frame, sizeof from);
  in->begin += sizeof in->frame + sizeof from;
  void *where;
  if (from.n == 0) return rm_in_broken(ch, "a placed bulk message of no bytes");
  if (!rm_in_bulk(ch, in->frame.tag, from.n, &where)) return false;
  in->asked = where;
  in->asked_n = from.n;
  if (!in->hook->placed(in, &from, where)) return true;
  in->asked_n = 0;
  return rm_in_bulk_landed(ch);
}

static bool begin_landed(rm_stream *in, rm_channel *ch) {
  if (in->frame.length && in->frame.length != in->asked_n)
    return rm_in_broken(ch, "%u bytes of an announced bulk message of %u", in->frame.length,
                        in->asked_n);
  in->asked_n = 0;
  in->to = in->asked;
  if (in->frame.length) return begin_payload(in, ch);
  in->begin += sizeof in->frame;
  return rm_in_bulk_landed(ch);
}

static bool check_shared(const rm_stream *in, rm_channel *ch) {
  const rm_frame *frame = &in->frame;
  bool known = in->hook || frame->kind < RM_FRAME_PLACED;
  if (!known || (frame->kind == RM_FRAME_LANDED) != (in->asked_n != 0) ||
      (frame->kind == RM_FRAME_PLACED && frame->length != sizeof(rm_placed)))
    return rm_in_broken(ch, "frame of kind %u where none can be", frame->kind);
  return true;
}

static bool check_frame(const rm_frame *frame, rm_channel *ch) {
  if (frame->kind < RM_FRAME_RECORDS || frame->kind > RM_FRAME_LANDED || frame->reserved)
    return rm_in_broken(ch, "frame of unknown kind %u", frame->kind);
  if (frame->tag && frame->kind != RM_FRAME_BULK && frame->kind != RM_FRAME_PLACED)
    return rm_in_broken(ch, "frame of kind %u with a tag", frame->kind);
  if (!has_room_of_its_own(frame) && frame->length > longest(frame->kind))
    return rm_in_broken(ch, "frame of kind %u with %u bytes (limit %u)", frame->kind, frame->length,
                        longest(frame->kind));
  return true;
}

static bool take_whole_frame(rm_stream *in, rm_channel *ch) {
  const rm_frame *frame = &in->frame;
  if (!rm_in_credit(ch, (rm_credit){frame->ring_released,
                                    {frame->bulk_released[0], frame->bulk_released[1]}}))
    return false;
  if (frame->kind == RM_FRAME_RECORDS) return begin_records(in, ch);
  if (frame->kind == RM_FRAME_BULK) return begin_bulk(in, ch);
  if (frame->kind == RM_FRAME_PLACED) return take_placed(in, ch);
  if (frame->kind == RM_FRAME_LANDED) return begin_landed(in, ch);
  return take_note(in, ch);
}

/* Takes one frame, or the beginning of one, out of staging. *more: there may be another. */
static bool take_frame(rm_stream *in, rm_channel *ch, bool *more) {
  size_t here = in->end - in->begin, needed = sizeof in->frame;
  *more = here >= needed;
  if (!*more) return true;
  memcpy(&in->frame, in->staging + in->begin, sizeof in->frame);
  if (!check_frame(&in->frame, ch) || !check_shared(in, ch)) return false;
  if (!has_room_of_its_own(&in->frame)) needed += in->frame.length;
  *more = here >= needed;
  return !*more || take_whole_frame(in, ch);
}

bool rm_stream_took(rm_stream *in, rm_channel *ch, size_t n) {
  size_t direct = n < in->left ? n : in->left;
  if (direct && !landed(in, ch, direct)) return false;
  in->end += n - direct;
  bool more = !in->left;
  while (more && !in->left)
    if (!take_frame(in, ch, &more)) return false;
  return true;
}
