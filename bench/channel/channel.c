/* channel.c: the channel alone, without driver or engine: a process that answers and one that asks,
 * so that a slow figure can be laid at the right door. `channel server` or `channel client PORT`.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "tcp.h"
#include "../../transport/channel.h"

enum op { OP_NOTHING = RM_OP_FIRST_CALL, OP_SEND_BULK };

typedef struct ask {
  uint64_t bytes, chunk;
} ask;

static const rm_options server_options = {.spin_us = UINT32_MAX};
static const rm_options client_options = {.spin_us = UINT32_MAX, .service = true};

/* ---- the side that answers */

static unsigned char *landing; /* bulk messages overwrite one touched window */
enum { LANDING_BYTES = 256 << 20 };
static rm_channel *serving;
static size_t landed_at;

static void *on_bulk(void *user, uint32_t tag, size_t n) {
  (void)user, (void)tag;
  if (landed_at + n > LANDING_BYTES) landed_at = 0;
  void *to = landing + landed_at;
  landed_at += n;
  return to;
}

static void on_server_bulk_done(void *user, uint32_t tag, void *where, size_t n) {
  (void)user, (void)where, (void)n;
  rm_bulk_release(serving, tag);
}

static void *read_all(void *ch) {
  rm_read_loop(ch);
  return NULL;
}

static void reply(rm_channel *ch, const rm_record *asked) {
  rm_record *r = rm_begin(ch, sizeof *r + sizeof(rm_reply));
  if (!r) return;
  r->op = RM_OP_REPLY;
  r->thread = asked->thread;
  memset(r + 1, 0, sizeof(rm_reply));
  rm_commit(ch);
}

static void send_bulk(rm_channel *ch, const ask *a) {
  for (uint64_t at = 0; at < a->bytes; at += a->chunk)
    if (rm_bulk(ch, 1, landing + at, a->bytes - at < a->chunk ? a->bytes - at : a->chunk)) return;
}

static void handle(rm_channel *ch, const rm_record *r) {
  if (r->op == OP_SEND_BULK) send_bulk(ch, (const ask *)(r + 1));
  if (r->flags & RM_F_WAITS) {
    reply(ch, r);
    rm_flush(ch);
  }
  rm_release(ch, r);
}

static int serve(void) {
  uint16_t port;
  int error = 0, listener = bench_listen(&port);
  const rm_events events = {.on_bulk = on_bulk, .on_bulk_done = on_server_bulk_done};
  landing = bench_touched(LANDING_BYTES);
  bench_fill(landing, LANDING_BYTES, 1);
  printf("port=%u\n", port);
  fflush(stdout);
  serving = rm_channel_tcp(bench_accept(listener), &server_options, &events, NULL);
  pthread_t reader;
  if (!serving || pthread_create(&reader, NULL, read_all, serving)) bench_fail("no channel");
  for (const rm_record *r; (r = rm_next(serving, -1, &error));) handle(serving, r);
  pthread_join(reader, NULL);
  rm_channel_close(serving, 0);
  rm_channel_free(serving);
  return 0;
}

/* ---- the side that asks */

static rm_channel *asking;
static rm_waiter waiter;
static unsigned char *client_memory;
static size_t client_at;

static void on_record(void *user, const rm_record *r) {
  (void)user;
  if (r->op == RM_OP_REPLY) rm_wake(asking, &waiter);
}
static void *on_client_bulk(void *user, uint32_t tag, size_t n) {
  (void)user, (void)tag;
  client_at += n;
  return client_at > LANDING_BYTES ? NULL : client_memory + client_at - n;
}
static void on_client_bulk_done(void *user, uint32_t tag, void *where, size_t n) {
  (void)user, (void)where, (void)n;
  rm_bulk_release(asking, tag);
}

static rm_record *begin(uint16_t op, uint32_t body, uint16_t flags) {
  waiter = (rm_waiter){0};
  rm_record *r = rm_begin(asking, (uint32_t)sizeof *r + body);
  if (!r) bench_fail("the channel ended");
  r->op = op;
  r->flags = flags;
  r->thread = 1;
  return r;
}

static void commit_and_wait(void) {
  rm_commit_unsent(asking);
  if (rm_wait(asking, &waiter, 10000)) bench_fail("no reply");
}

/* wait BODY COUNT */
static void measure_wait(char **words) {
  uint32_t body = (uint32_t)bench_number(words[0]);
  size_t count = bench_number(words[1]);
  uint64_t *samples = bench_touched(count * sizeof *samples + 1);
  bench_carried before = bench_tcp_carried();
  for (size_t i = 0; i < count; i++) {
    uint64_t start = bench_now_ns();
    begin(OP_NOTHING, body, RM_F_WAITS);
    commit_and_wait();
    samples[i] = bench_now_ns() - start;
  }
  bench_carried after = bench_tcp_carried();
  bench_summary s = bench_summarise(samples, count);
  bench_release(samples, count * sizeof *samples + 1);
  printf("p50_ns=%.0f p99_ns=%.0f mean_ns=%.0f sent=%.3f received=%.3f", s.p50, s.p99, s.mean,
         (double)(after.sent - before.sent) / (double)count,
         (double)(after.received - before.received) / (double)count);
}

/* Apart, so that an instruction counter can be switched on for it alone. */
void post_many(uint32_t body, uint64_t count);
__attribute__((noinline)) void post_many(uint32_t body, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    begin(OP_NOTHING, body, 0);
    rm_commit(asking);
  }
}

/* post BODY BURSTS BURST: each burst ends with a waiting call */
static void measure_post(char **words) {
  uint32_t body = (uint32_t)bench_number(words[0]);
  uint64_t bursts = bench_number(words[1]), burst = bench_number(words[2]), cpu = 0, wall = 0;
  uint64_t *samples = bench_touched(bursts * sizeof *samples + 1);
  for (uint64_t b = 0; b < bursts; b++) {
    uint64_t start = bench_now_ns(), cpu_start = bench_thread_cpu_ns();
    post_many(body, burst);
    cpu += bench_thread_cpu_ns() - cpu_start;
    wall += bench_now_ns() - start;
    begin(OP_NOTHING, 0, RM_F_WAITS);
    commit_and_wait();
    samples[b] = bench_now_ns() - start;
  }
  bench_summary s = bench_summarise(samples, bursts);
  bench_release(samples, bursts * sizeof *samples + 1);
  double count = (double)(bursts * burst);
  printf("cpu_ns=%.1f wall_ns=%.1f burst_p50_ns=%.0f", (double)cpu / count, (double)wall / count,
         s.p50);
}

static uint64_t timed_htod(const ask *a) {
  uint64_t start = bench_now_ns();
  for (uint64_t at = 0; at < a->bytes; at += a->chunk) {
    uint64_t n = a->bytes - at < a->chunk ? a->bytes - at : a->chunk;
    if (rm_bulk(asking, 1, client_memory + at, n)) bench_fail("the channel ended");
  }
  begin(OP_NOTHING, 0, RM_F_WAITS);
  commit_and_wait();
  return bench_now_ns() - start;
}

static uint64_t timed_dtoh(const ask *a) {
  client_at = 0;
  uint64_t start = bench_now_ns();
  rm_record *r = begin(OP_SEND_BULK, sizeof *a, RM_F_WAITS);
  memcpy(r + 1, a, sizeof *a);
  commit_and_wait();
  return bench_now_ns() - start;
}

static void copies(char **words, uint64_t (*timed)(const ask *)) {
  ask a = {bench_number(words[0]), bench_number(words[1])};
  uint64_t repeats = bench_number(words[2]);
  if (a.bytes > LANDING_BYTES || a.chunk == 0 || a.chunk > RM_BULK_MAX) bench_fail("size");
  uint64_t *samples = bench_touched(repeats * sizeof *samples + 1);
  for (uint64_t i = 0; i < repeats; i++) samples[i] = timed(&a);
  bench_summary s = bench_summarise(samples, repeats);
  bench_release(samples, repeats * sizeof *samples + 1);
  printf("p50_ns=%.0f mean_ns=%.0f", s.p50, s.mean);
}

/* htod BYTES CHUNK REPEATS, dtoh BYTES CHUNK REPEATS */
static void measure_htod(char **words) { copies(words, timed_htod); }
static void measure_dtoh(char **words) { copies(words, timed_dtoh); }

int main(int argc, char **argv) {
  static const bench_command commands[] = {{"wait", 2, measure_wait},
                                           {"post", 3, measure_post},
                                           {"htod", 3, measure_htod},
                                           {"dtoh", 3, measure_dtoh}};
  if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
  if (argc != 3 || strcmp(argv[1], "client") != 0) bench_fail("channel server | client PORT");
  const rm_events events = {
      .on_record = on_record, .on_bulk = on_client_bulk, .on_bulk_done = on_client_bulk_done};
  client_memory = bench_touched(LANDING_BYTES);
  bench_fill(client_memory, LANDING_BYTES, 2);
  int fd = bench_connect((uint16_t)bench_number(argv[2]));
  asking = rm_channel_tcp(fd, &client_options, &events, NULL);
  if (!asking) bench_fail("no channel");
  int status = bench_serve(commands, sizeof commands / sizeof *commands);
  rm_channel_close(asking, 100);
  rm_channel_free(asking);
  return status;
}
