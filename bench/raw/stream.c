/* stream.c: the baseline of a copy: a stream of bytes over one TCP connection, sent chunk by chunk
 * from one touched buffer into another, whose checksum is compared after the clock stopped.
 * `stream server` or `stream client PORT`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "tcp.h"

enum direction { TO_SERVER = 1, TO_CLIENT = 2 };

/* What the client asks of the server before each transfer. */
typedef struct transfer {
  uint32_t direction, chunk;
  uint64_t bytes, seed;
  uint32_t wait, spin_us;
} transfer;

typedef struct buffer {
  unsigned char *memory;
  size_t bytes;
} buffer;

/* The buffer of this process, at least as large as asked: touched once, then used again. */
static unsigned char *buffer_of(size_t bytes) {
  static buffer b;
  if (b.bytes >= bytes) return b.memory;
  if (b.memory) bench_release(b.memory, b.bytes);
  b = (buffer){bench_touched(bytes), bytes};
  return b.memory;
}

static void send_chunks(int fd, const unsigned char *from, const transfer *t) {
  for (uint64_t at = 0; at < t->bytes; at += t->chunk)
    bench_send(fd, from + at, t->bytes - at < t->chunk ? t->bytes - at : t->chunk);
}

static void receive_chunks(int fd, unsigned char *to, const transfer *t) {
  for (uint64_t at = 0; at < t->bytes; at += t->chunk) {
    size_t n = t->bytes - at < t->chunk ? t->bytes - at : t->chunk;
    if (!bench_receive(fd, to + at, n, (bench_wait)t->wait, t->spin_us))
      bench_fail("the peer closed");
  }
}

static const char acknowledged = 1;

/* The receiver is ready once its buffer is touched: only then does the client's clock start. */
static void serve_transfer(int fd, const transfer *t) {
  unsigned char *memory = buffer_of(t->bytes);
  char go;
  if (t->direction == TO_CLIENT) bench_fill(memory, t->bytes, t->seed);
  bench_send(fd, &acknowledged, 1);
  if (t->direction == TO_SERVER) {
    receive_chunks(fd, memory, t);
    bench_send(fd, &acknowledged, 1);
  } else {
    if (!bench_receive(fd, &go, 1, (bench_wait)t->wait, t->spin_us))
      bench_fail("the client closed");
    send_chunks(fd, memory, t);
  }
  uint64_t sum = bench_checksum(memory, t->bytes);
  bench_send(fd, &sum, sizeof sum);
}

static int serve(void) {
  uint16_t port;
  int listener = bench_listen(&port);
  printf("port=%u\n", port);
  fflush(stdout);
  int fd = bench_accept(listener);
  transfer t;
  while (bench_receive(fd, &t, sizeof t, BENCH_SLEEP, 0)) {
    if (t.chunk == 0 || t.bytes > 1ull << 32) bench_fail("a transfer nobody can make");
    serve_transfer(fd, &t);
  }
  return 0;
}

static int server_fd;

static void await(void *to, size_t n, const transfer *t) {
  if (!bench_receive(server_fd, to, n, (bench_wait)t->wait, t->spin_us))
    bench_fail("the server closed");
}

static uint64_t timed_transfer(const transfer *t, unsigned char *memory) {
  char ready;
  bench_send(server_fd, t, sizeof *t);
  await(&ready, 1, t);
  uint64_t start = bench_now_ns();
  if (t->direction == TO_SERVER) {
    send_chunks(server_fd, memory, t);
    await(&ready, 1, t);
  } else {
    bench_send(server_fd, &acknowledged, 1);
    receive_chunks(server_fd, memory, t);
  }
  return bench_now_ns() - start;
}

static void transfers(enum direction direction, char **words) {
  transfer t = {.direction = direction,
                .bytes = bench_number(words[0]),
                .chunk = (uint32_t)bench_number(words[1]),
                .wait = (uint32_t)bench_number(words[2]),
                .spin_us = (uint32_t)bench_number(words[3])};
  uint64_t repeats = bench_number(words[4]);
  unsigned char *memory = buffer_of(t.bytes);
  uint64_t *samples = bench_touched(repeats * sizeof *samples + 1);
  for (uint64_t i = 0; i < repeats; i++) {
    t.seed = i + 1;
    if (direction == TO_SERVER) bench_fill(memory, t.bytes, t.seed);
    samples[i] = timed_transfer(&t, memory);
    uint64_t theirs;
    await(&theirs, sizeof theirs, &t);
    if (bench_checksum(memory, t.bytes) != theirs) bench_fail("checksums differ");
  }
  bench_summary s = bench_summarise(samples, repeats);
  bench_release(samples, repeats * sizeof *samples + 1);
  printf("p50_ns=%.0f mean_ns=%.0f", s.p50, s.mean);
}

/* htod BYTES CHUNK WAIT SPIN_US REPEATS, dtoh likewise */
static void htod(char **words) { transfers(TO_SERVER, words); }
static void dtoh(char **words) { transfers(TO_CLIENT, words); }

int main(int argc, char **argv) {
  static const bench_command commands[] = {{"htod", 5, htod}, {"dtoh", 5, dtoh}};
  if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
  if (argc != 3 || strcmp(argv[1], "client") != 0) bench_fail("stream server | client PORT");
  server_fd = bench_connect((uint16_t)bench_number(argv[2]));
  return bench_serve(commands, 2);
}
