/* rdma_wire.h: how a channel's traffic looks on the rdma carrier. Little endian throughout. Source
 * of truth for docs/wire.md.
 *
 * Two queue pairs of type RC. On the *ring pair* a side writes (RDMA WRITE) into two regions of its
 * peer: the ring, at the offset that the record has in the sender's own; and the box, which holds
 * notices and small bulk messages. Every parcel ends with one RDMA WRITE_WITH_IMM, whose
 * immediate data says what came. On the *bulk pair* a receiver reads (RDMA READ) larger bulk
 * messages from where a notice says that they lie.
 *
 * Immediate data, as a number (it travels big endian):
 *   31      0: records, written by this very WRITE at the place where the last ones ended
 *      30..28  count of this side's immediates so far, modulo 8
 *      27..17  length in units of 8 bytes
 *      16..7   records given free since this side last said so, in units of 8 bytes
 *       6..5   bulk messages of tag 0 given free since; 4..3 of other tags
 *       2..0   immediates taken in since
 *   31      1: a notice, written by this very WRITE at place (count modulo receives) of the box
 *      30..0   count of this side's immediates so far, modulo 2^31
 *
 * A side posts `receives` receives before it connects. Its peer never has more immediates under way
 * than it was told have been taken in, plus `receives`.
 * Must not know: verbs, threads. */
#ifndef REMORA_RDMA_WIRE_H
#define REMORA_RDMA_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"

#define RM_RDMA_VERSION 1u
#define RM_RDMA_MAGIC 0x52444d52u /* "RMDR" */

/* What a side says of itself; 16 bytes of a port, and from accept and prepare on all the rest. */
typedef struct rm_rdma_end {
  uint32_t magic, version;
  uint8_t gid[16];
  uint16_t lid;
  uint8_t mtu;  /* enum ibv_mtu: 1 = 256 bytes .. 5 = 4,096 */
  uint8_t port; /* for messages */
  uint32_t ring_qp, ring_psn;
  uint32_t bulk_qp, bulk_psn;
  uint32_t reads;    /* RDMA READs that the peer may have under way */
  uint32_t receives; /* see above; a power of two */
  uint32_t box_slot; /* bytes of a place for a small bulk message */
  uint32_t window;   /* places for each of the two kinds of bulk messages */
  uint32_t ring_bytes, ring_key;
  uint64_t ring_at;
  uint64_t box_at;
  uint32_t box_key, reserved;
} rm_rdma_end;
_Static_assert(sizeof(rm_rdma_end) == 96, "the blob is 96 bytes");

enum rm_notice_kind {
  RM_NOTICE_CREDIT = 1,
  RM_NOTICE_RECORDS, /* n bytes of records lie in the ring, written before */
  RM_NOTICE_NOTE,    /* what a link calls a note: n bytes follow */
  RM_NOTICE_BULK,    /* a bulk message of n bytes, which follow */
  RM_NOTICE_BOXED,   /* a bulk message of n bytes, in its place of the box */
  RM_NOTICE_READ,    /* a bulk message of n bytes: to be read at (at, key) */
};

#define RM_NOTICE_BYTES 128u /* that may follow a notice's head */
#define RM_NOTICE_PROMPT 1u  /* a flag: the sender waits to hear that the message has been read */

typedef struct rm_notice {
  uint8_t kind;     /* enum rm_notice_kind */
  uint8_t note;     /* enum rm_note_kind */
  uint8_t bulk[2];  /* bulk messages given free, see rm_credit */
  uint32_t ring;    /* bytes of records given free, see rm_credit */
  uint32_t taken;   /* immediates taken in, counted from the start */
  uint32_t fetched; /* bulk messages read over the bulk pair, counted from the start */
  uint32_t n, tag;
  uint64_t at;
  uint32_t key, flags;
  uint8_t bytes[RM_NOTICE_BYTES];
} rm_notice;
#define RM_NOTICE_HEAD 40u
_Static_assert(sizeof(rm_notice) == RM_NOTICE_HEAD + RM_NOTICE_BYTES, "a notice is 168 bytes");

/* The box: a place for each receive's notice, then places for small bulk messages: the k-th of tag
 * 0 goes to place k mod window, the k-th of other tags to window + k mod window. */
static inline uint64_t rm_box_notice(uint32_t count, uint32_t receives) {
  return (uint64_t)(count % receives) * sizeof(rm_notice);
}
static inline uint64_t rm_box_place(uint32_t kind, uint32_t k, uint32_t receives, uint32_t window,
                                    uint32_t slot) {
  return (uint64_t)receives * sizeof(rm_notice) + (uint64_t)(kind * window + k % window) * slot;
}
static inline uint64_t rm_box_bytes(uint32_t receives, uint32_t window, uint32_t slot) {
  return rm_box_place(1, window - 1, receives, window, slot) + slot;
}

/* What an immediate of records says. */
typedef struct rm_brief {
  uint32_t n;       /* bytes of records */
  uint32_t ring;    /* bytes of records given free since */
  uint32_t bulk[2]; /* bulk messages given free since */
  uint32_t taken;   /* immediates taken in since */
} rm_brief;

static inline bool rm_brief_fits(const rm_brief *b) {
  return b->n < 8u << 11 && b->ring < 8u << 10 && b->bulk[0] < 4 && b->bulk[1] < 4 && b->taken < 8;
}
static inline uint32_t rm_imm_records(uint32_t count, const rm_brief *b) {
  return (count & 7) << 28 | (b->n / 8) << 17 | (b->ring / 8) << 7 | b->bulk[0] << 5 |
         b->bulk[1] << 3 | b->taken;
}
static inline uint32_t rm_imm_notice(uint32_t count) { return 1u << 31 | (count & 0x7fffffff); }
static inline bool rm_imm_is_notice(uint32_t imm) { return imm >> 31; }
static inline bool rm_imm_in_order(uint32_t imm, uint32_t count) {
  return rm_imm_is_notice(imm) ? imm == rm_imm_notice(count) : imm >> 28 == (count & 7);
}
static inline rm_brief rm_imm_brief(uint32_t imm) {
  return (rm_brief){
      (imm >> 17 & 0x7ff) * 8, (imm >> 7 & 0x3ff) * 8, {imm >> 5 & 3, imm >> 3 & 3}, imm & 7};
}

#endif
