/* pair.h: one end of a plain RC connection: a queue pair, two buffers, nothing else. What the rdma
 * carrier is measured against. Must not know: Remora's channel. */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include <stddef.h>
#include <stdint.h>

#include "transport/verbs.h"

typedef struct bench_end {
  uint32_t qp, psn, key;
  uint64_t at;
  ibv_gid gid;
} bench_end;

/* Where the data of streams lies in the memory; before it lie messages. */
#define BENCH_PAIR_STREAM 8192

typedef struct bench_pair {
  const rm_verbs *verbs;
  struct ibv_context *context;
  struct ibv_pd *pd;
  struct ibv_cq *out, *in;
  struct ibv_qp *qp;
  struct ibv_mr *mr;
  volatile uint8_t *memory;
  size_t bytes;
  int gid_index;
  bench_end mine, theirs;
  uint32_t inline_max;
  uint64_t sent;
} bench_pair;

/* Opens the first device and registers memory. Ends the program when it can't. */
void bench_pair_open(bench_pair *p, void *memory, size_t bytes);
/* Connects to what the peer says of itself. */
void bench_pair_connect(bench_pair *p, const bench_end *theirs);

/* Round trips of n bytes, as who begins or who answers: by RDMA WRITE and looking at the last byte,
 * or by RDMA WRITE_WITH_IMM and its completion. */
void bench_pair_write(bench_pair *p, uint32_t n, uint32_t count, int begins);
void bench_pair_imm(bench_pair *p, uint32_t n, uint32_t count, int begins);
/* Moves n bytes in messages of `chunk`, two under way: opcode IBV_WR_RDMA_WRITE or _READ. */
void bench_pair_stream(bench_pair *p, int opcode, size_t n, uint32_t chunk);

#endif
