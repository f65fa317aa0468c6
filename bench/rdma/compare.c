/* compare.c: the rdma carrier against plain verbs, in one pair of processes, in turns, timed in
 * batches (where a clock is read by a system call, a sample of one call would measure the clock).
 *
 * `compare ROUNDS BATCHES CALLS BYTES COPY_BYTES REPEATS`: prints a line of medians for each round.
 * The answering process is forked at the start; it serves a channel over rdma and one over tcp, and
 * answers the plain exchanges when told to. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "pair.h"
#include "tcp.h"
#include "transport/carrier.h"
#include "transport/channel.h"

enum { OP_NOTHING = RM_OP_FIRST_CALL, OP_SEND_BULK };
enum { RAW_WRITE, RAW_IMM };
enum { MEMORY = BENCH_PAIR_STREAM + (8 << 20), CHUNK = RM_BULK_MAX, SPIN_US = 5000 };
/* Before the clock of a ping-pong starts: until the other process looks for the first message, and
 * the threads of the channels have ceased to look for more. */
enum { SETTLE_US = 2 * SPIN_US };
/* Calls before the clock of a channel starts, until the other process looks for the next. */
enum { WARM = 20 };

typedef struct job {
  uint32_t kind, bytes, count;
} job;

typedef struct line { /* one channel, either end */
  rm_channel *channel;
  rm_waiter waiter;
  size_t landed;
} line;

static int peer; /* the other process */
static bench_pair plain;
static uint8_t *data; /* of copies: the plain pair's and the channels' */
static size_t copied; /* bytes of one copy: what comes goes where the last one's went */
static line lines[2]; /* rdma, tcp */
static int serves;

static void tell(const void *bytes, size_t n) {
  if (write(peer, bytes, n) != (ssize_t)n) bench_fail("the other process is gone");
}

static void hear(void *bytes, size_t n) {
  for (char *at = bytes; n;) {
    ssize_t got = read(peer, at, n);
    if (got <= 0) _exit(0);
    at += got, n -= (size_t)got;
  }
}

static void hear_blob(rm_blob *blob) {
  hear(&blob->n, sizeof blob->n);
  if (blob->n > RM_BLOB_MAX) bench_fail("blob");
  hear(blob->bytes, blob->n);
}

static void tell_blob(const rm_blob *blob) { tell(blob, sizeof blob->n + blob->n); }

/* ---- channels */

static void *on_bulk(void *user, uint32_t tag, size_t n) {
  line *l = user;
  (void)tag;
  void *to = data + l->landed;
  l->landed = (l->landed + n) % copied;
  return to;
}

static void on_bulk_done(void *user, uint32_t tag, void *where, size_t n) {
  (void)where, (void)n;
  rm_bulk_release(((line *)user)->channel, tag);
}

static void on_record(void *user, const rm_record *r) {
  line *l = user;
  if (r->op == RM_OP_REPLY) rm_wake(l->channel, &l->waiter);
}

static rm_link *agree(int fd) {
  static rm_blob mine, theirs;
  rm_carrying c = {.carrier = rm_carrier_named("rdma"), .fd = fd};
  bool works = true;
  if (serves) {
    hear_blob(&theirs);
    works = c.carrier->prepare(&c, &theirs, &mine);
    tell_blob(&mine);
    hear_blob(&theirs);
    works = works && c.carrier->connect(&c, &theirs);
  } else {
    works = c.carrier->offer(&c, &mine);
    tell_blob(&mine);
    hear_blob(&theirs);
    mine.n = 0;
    works = works && c.carrier->accept(&c, &theirs, &mine);
    tell_blob(&mine);
  }
  if (!works) bench_fail("%s", c.why);
  return c.carrier->link(&c);
}

static void open_channel(line *l, rm_link *link) {
  const rm_options options = {.spin_us = SPIN_US, .service = !serves, .bulk_overlaps = serves};
  const rm_events events = {
      .on_record = serves ? NULL : on_record, .on_bulk = on_bulk, .on_bulk_done = on_bulk_done};
  if (!link || !(l->channel = rm_channel_over(link, &options, &events, l)))
    bench_fail("no channel");
  if (rm_register(l->channel, data, MEMORY - BENCH_PAIR_STREAM)) bench_fail("not registered");
}

/* ---- the answering process */

static void send_bulk(line *l, uint32_t n) {
  for (uint32_t at = 0; at < n; at += CHUNK)
    rm_bulk_lend(l->channel, 1, data + at, n - at < CHUNK ? n - at : CHUNK, at + CHUNK < n);
}

static void answer(line *l, const rm_record *asked) {
  if (asked->op == OP_SEND_BULK) send_bulk(l, *(const uint32_t *)(asked + 1));
  rm_record *r = rm_begin(l->channel, asked->op == OP_SEND_BULK ? 24 : asked->size);
  if (!r) return;
  r->op = RM_OP_REPLY;
  rm_commit(l->channel);
  rm_flush(l->channel);
}

static void *read_all(void *l) {
  rm_read_loop(((line *)l)->channel);
  return NULL;
}

static void *answer_all(void *l) {
  int error;
  for (const rm_record *r; (r = rm_next(((line *)l)->channel, -1, &error));) {
    answer(l, r);
    rm_release(((line *)l)->channel, r);
  }
  return NULL;
}

static void serve(void) {
  for (unsigned i = 0; i < 2; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, read_all, &lines[i]) ||
        pthread_create(&thread, NULL, answer_all, &lines[i]))
      bench_fail("no thread");
  }
  for (job j;;) {
    hear(&j, sizeof j);
    tell("", 1);
    (j.kind == RAW_WRITE ? bench_pair_write : bench_pair_imm)(&plain, j.bytes, j.count, 0);
  }
}

/* ---- the asking process: what is timed, `count` at once; nanoseconds of one */

static double plain_call(uint32_t kind, uint32_t bytes, uint32_t count) {
  char ready;
  tell(&(job){kind, bytes, count}, sizeof(job));
  hear(&ready, 1);
  usleep(SETTLE_US);
  uint64_t start = bench_now_ns();
  (kind == RAW_WRITE ? bench_pair_write : bench_pair_imm)(&plain, bytes, count, 1);
  return (double)(bench_now_ns() - start) / count;
}

static void ask(line *l, uint16_t op, uint32_t bytes, uint32_t n) {
  l->waiter = (rm_waiter){0};
  rm_record *r = rm_begin(l->channel, bytes);
  if (!r) bench_fail("the channel ended");
  r->op = op;
  r->flags = RM_F_WAITS;
  *(uint32_t *)(r + 1) = n;
  rm_commit_unsent(l->channel);
  if (rm_wait(l->channel, &l->waiter, -1)) bench_fail("no reply");
}

static double channel_call(line *l, uint32_t bytes, uint32_t count) {
  for (uint32_t i = 0; i < WARM; i++) ask(l, OP_NOTHING, bytes, 0);
  uint64_t start = bench_now_ns();
  for (uint32_t i = 0; i < count; i++) ask(l, OP_NOTHING, bytes, 0);
  return (double)(bench_now_ns() - start) / count;
}

static double plain_copy(int opcode, uint32_t n, uint32_t count) {
  uint64_t start = bench_now_ns();
  for (uint32_t i = 0; i < count; i++) bench_pair_stream(&plain, opcode, n, CHUNK);
  return (double)(bench_now_ns() - start) / count;
}

static double copy_in(line *l, uint32_t n, uint32_t count) {
  uint64_t start = bench_now_ns();
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t at = 0; at < n; at += CHUNK)
      if (rm_bulk_lend(l->channel, 1, data + at, n - at < CHUNK ? n - at : CHUNK, true))
        bench_fail("the channel ended");
  rm_bulk_returned(l->channel);
  ask(l, OP_NOTHING, 24, 0);
  return (double)(bench_now_ns() - start) / count;
}

static double copy_out(line *l, uint32_t n, uint32_t count) {
  uint64_t start = bench_now_ns();
  for (uint32_t i = 0; i < count; i++) ask(l, OP_SEND_BULK, 24, n);
  return (double)(bench_now_ns() - start) / count;
}

typedef struct sizes {
  uint32_t batches, calls, bytes, copy, repeats;
} sizes;

static double median(uint64_t *samples, size_t n) { return bench_summarise(samples, n).p50; }

static void calls_round(const sizes *z) {
  uint64_t samples[4][64];
  for (uint32_t i = 0; i < z->batches; i++) {
    samples[0][i] = (uint64_t)plain_call(RAW_WRITE, z->bytes, z->calls);
    samples[1][i] = (uint64_t)channel_call(&lines[0], z->bytes, z->calls);
    samples[2][i] = (uint64_t)plain_call(RAW_IMM, z->bytes, z->calls);
    samples[3][i] = (uint64_t)channel_call(&lines[1], z->bytes, z->calls);
  }
  printf("write_ns=%.0f call_ns=%.0f imm_ns=%.0f tcp_call_ns=%.0f ", median(samples[0], z->batches),
         median(samples[1], z->batches), median(samples[2], z->batches),
         median(samples[3], z->batches));
}

static void copies_round(const sizes *z) {
  double write = plain_copy(IBV_WR_RDMA_WRITE, z->copy, z->repeats);
  double in = copy_in(&lines[0], z->copy, z->repeats);
  double out = copy_out(&lines[0], z->copy, z->repeats);
  double read = plain_copy(IBV_WR_RDMA_READ, z->copy, z->repeats);
  printf("raw_write_ns=%.0f htod_ns=%.0f dtoh_ns=%.0f raw_read_ns=%.0f ", write, in, out, read);
  printf("tcp_htod_ns=%.0f tcp_dtoh_ns=%.0f ", copy_in(&lines[1], z->copy, z->repeats),
         copy_out(&lines[1], z->copy, z->repeats));
}

static void measure(unsigned rounds, const sizes *z) {
  for (unsigned i = 0; i <= rounds; i++) {
    calls_round(z);
    copies_round(z);
    rm_traffic t;
    rm_channel_stats(lines[0].channel, &t);
    printf("copied=%llu direct=%llu warm=%d\n", (unsigned long long)t.bulk_copied,
           (unsigned long long)t.bulk_direct, i > 0);
    fflush(stdout);
  }
}

static void connect_all(int fds[2]) {
  bench_end theirs;
  uint8_t *memory = bench_touched(MEMORY);
  data = memory + BENCH_PAIR_STREAM;
  bench_pair_open(&plain, memory, MEMORY);
  tell(&plain.mine, sizeof plain.mine);
  hear(&theirs, sizeof theirs);
  bench_pair_connect(&plain, &theirs);
  open_channel(&lines[0], agree(fds[0]));
  open_channel(&lines[1], rm_link_tcp(fds[1], 30000));
}

int main(int argc, char **argv) {
  int ends[2], fds[2];
  uint16_t port;
  if (argc != 7 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
    bench_fail("compare ROUNDS BATCHES CALLS BYTES COPY_BYTES REPEATS");
  sizes z = {(uint32_t)bench_number(argv[2]), (uint32_t)bench_number(argv[3]),
             (uint32_t)bench_number(argv[4]), (uint32_t)bench_number(argv[5]),
             (uint32_t)bench_number(argv[6])};
  if (z.batches > 64 || z.copy > MEMORY - BENCH_PAIR_STREAM) bench_fail("too much");
  copied = z.copy;
  int listener = bench_listen(&port);
  serves = fork() == 0;
  if (serves) prctl(PR_SET_PDEATHSIG, SIGKILL);
  peer = ends[serves];
  close(ends[!serves]);
  for (int i = 0; i < 2; i++) fds[i] = serves ? bench_accept(listener) : bench_connect(port);
  connect_all(fds);
  if (serves) serve();
  measure((unsigned)bench_number(argv[1]), &z);
  return 0;
}
