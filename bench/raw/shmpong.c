/* shmpong.c: the baseline of a waiting call over shared memory: two processes, a line of memory
 * each way with a counter before the bytes, and nothing else. `shmpong server` makes the memory and
 * prints a number; `shmpong client NUMBER` finds it. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "memory.h"
#include "tcp.h"

enum { MOST_BYTES = 4000 };

typedef struct slot {
  _Alignas(64) uint32_t count; /* messages so far; futex word */
  uint32_t sleeps;
  unsigned char bytes[MOST_BYTES];
} slot;

typedef struct plan {
  uint32_t wait, spin_us, out_bytes, in_bytes, count;
} plan;

typedef struct memory {
  _Alignas(64) uint32_t runs; /* futex word: the client has set another plan */
  plan next;
  slot out, in;
} memory;

static memory *m;
static unsigned char buffer[MOST_BYTES];

static void sleep_on(uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}
static void wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

static void put(slot *to, const void *bytes, uint32_t n, uint32_t count) {
  memcpy(to->bytes, bytes, n);
  __atomic_store_n(&to->count, count, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&to->sleeps, __ATOMIC_SEQ_CST)) wake(&to->count);
}

static void block(slot *from, uint32_t count) {
  __atomic_store_n(&from->sleeps, 1, __ATOMIC_SEQ_CST);
  sleep_on(&from->count, count - 1);
  __atomic_store_n(&from->sleeps, 0, __ATOMIC_SEQ_CST);
}

static void take(slot *from, void *bytes, uint32_t n, uint32_t count, const plan *p) {
  uint64_t sleep_at = p->wait == BENCH_SPIN_THEN_SLEEP ? bench_now_ns() + p->spin_us * 1000ull : 0;
  while (__atomic_load_n(&from->count, __ATOMIC_ACQUIRE) != count) {
    if (p->wait == BENCH_YIELD)
      sched_yield();
    else if (p->wait == BENCH_SLEEP || (sleep_at && bench_now_ns() >= sleep_at))
      block(from, count);
    else
      __builtin_ia32_pause();
  }
  memcpy(bytes, from->bytes, n);
}

static memory *map(int fd) {
  void *at = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) bench_fail("no shared memory");
  return at;
}

static int serve(void) {
  m = map(bench_make_memory(sizeof *m));
  printf("port=%d\n", getpid());
  fflush(stdout);
  for (uint32_t run = 0;; run++) {
    while (__atomic_load_n(&m->runs, __ATOMIC_ACQUIRE) == run) sleep_on(&m->runs, run);
    plan p = m->next;
    if (!p.count) return 0;
    for (uint32_t i = 1; i <= p.count; i++) {
      take(&m->out, buffer, p.out_bytes, i, &p);
      put(&m->in, buffer, p.in_bytes, i);
    }
  }
}

static void begin(plan p) {
  m->out.count = m->in.count = 0;
  m->next = p;
  __atomic_add_fetch(&m->runs, 1, __ATOMIC_SEQ_CST);
  wake(&m->runs);
}

/* run WAIT SPIN_US OUT_BYTES IN_BYTES COUNT */
static void run(char **words) {
  plan p = {(uint32_t)bench_number(words[0]), (uint32_t)bench_number(words[1]),
            (uint32_t)bench_number(words[2]), (uint32_t)bench_number(words[3]),
            (uint32_t)bench_number(words[4])};
  if (p.out_bytes > MOST_BYTES || p.in_bytes > MOST_BYTES || !p.count) bench_fail("bad plan");
  uint64_t *samples = bench_touched(p.count * sizeof *samples + 1);
  begin(p);
  for (uint32_t i = 1; i <= p.count; i++) {
    uint64_t start = bench_now_ns();
    put(&m->out, buffer, p.out_bytes, i);
    take(&m->in, buffer, p.in_bytes, i, &p);
    samples[i - 1] = bench_now_ns() - start;
  }
  bench_summary s = bench_summarise(samples, p.count);
  bench_release(samples, p.count * sizeof *samples + 1);
  printf("p50_ns=%.0f p99_ns=%.0f mean_ns=%.0f", s.p50, s.p99, s.mean);
}

int main(int argc, char **argv) {
  static const bench_command commands[] = {{"run", 5, run}};
  if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
  if (argc != 3 || strcmp(argv[1], "client") != 0) bench_fail("shmpong server | client NUMBER");
  m = map(bench_find_memory(bench_number(argv[2])));
  int status = bench_serve(commands, 1);
  begin((plan){0});
  return status;
}
