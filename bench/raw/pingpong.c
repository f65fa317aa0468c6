/* pingpong.c: the baseline of a waiting call: two processes, one TCP connection, a fixed number of
 * bytes each way, and nothing else. `pingpong server` or `pingpong client PORT`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "tcp.h"

enum { MOST_BYTES = 1 << 16 };
static unsigned char buffer[MOST_BYTES];

/* What the client asks of the server before each run. */
typedef struct run_plan {
  uint32_t wait, spin_us, out_bytes, in_bytes, count;
} run_plan;

static int serve_run(int fd, run_plan plan) {
  for (uint32_t i = 0; i < plan.count; i++) {
    if (!bench_receive(fd, buffer, plan.out_bytes, (bench_wait)plan.wait, plan.spin_us)) return 0;
    bench_send(fd, buffer, plan.in_bytes);
  }
  return 1;
}

static int serve(void) {
  uint16_t port;
  int listener = bench_listen(&port);
  printf("port=%u\n", port);
  fflush(stdout);
  int fd = bench_accept(listener);
  run_plan plan;
  while (bench_receive(fd, &plan, sizeof plan, BENCH_SLEEP, 0)) {
    if (plan.out_bytes > MOST_BYTES || plan.in_bytes > MOST_BYTES) bench_fail("message too large");
    if (!serve_run(fd, plan)) break;
  }
  return 0;
}

static int server_fd;

static uint64_t one_exchange(const run_plan *plan) {
  uint64_t start = bench_now_ns();
  bench_send(server_fd, buffer, plan->out_bytes);
  if (!bench_receive(server_fd, buffer, plan->in_bytes, (bench_wait)plan->wait, plan->spin_us))
    bench_fail("the server closed");
  return bench_now_ns() - start;
}

/* run WAIT SPIN_US OUT_BYTES IN_BYTES COUNT */
static void run(char **words) {
  run_plan plan = {(uint32_t)bench_number(words[0]), (uint32_t)bench_number(words[1]),
                   (uint32_t)bench_number(words[2]), (uint32_t)bench_number(words[3]),
                   (uint32_t)bench_number(words[4])};
  if (plan.out_bytes > MOST_BYTES || plan.in_bytes > MOST_BYTES) bench_fail("message too large");
  uint64_t *samples = bench_touched(plan.count * sizeof *samples + 1);
  bench_send(server_fd, &plan, sizeof plan);
  for (uint32_t i = 0; i < plan.count; i++) samples[i] = one_exchange(&plan);
  bench_summary s = bench_summarise(samples, plan.count);
  bench_release(samples, plan.count * sizeof *samples + 1);
  printf("p50_ns=%.0f p99_ns=%.0f mean_ns=%.0f", s.p50, s.p99, s.mean);
}

int main(int argc, char **argv) {
  static const bench_command commands[] = {{"run", 5, run}};
  if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
  if (argc != 3 || strcmp(argv[1], "client") != 0) bench_fail("pingpong server | client PORT");
  server_fd = bench_connect((uint16_t)bench_number(argv[2]));
  return bench_serve(commands, 1);
}
