/* memcopy.c: the baseline of a copy over shared memory: one memcpy between private memory and
 * memory that another process shares, and the hand-over without which the other could not know of
 * it: a word each way. `memcopy server` makes the memory and prints a number; `memcopy client
 * NUMBER` finds it.
 * The memory is what the other end's is: touched by both before, huge pages where the system gives
 * them when asked. The bytes are fresh each time, and checked afterwards. */
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

#define HUGE_PAGE ((size_t)2 << 20)
#define DEVICE_BYTES ((size_t)256 << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

typedef struct control {
  _Alignas(64) uint32_t asked; /* futex words: hand-overs asked for, */
  uint32_t wait;               /* how both wait */
  _Alignas(64) uint32_t given; /* and given */
  _Alignas(64) uint32_t over;
} control;

/* At multiples of a huge page, in the file and in memory: the control's page, then the device's. */
static control *c;
static unsigned char *device;

static void map(int fd) {
  size_t bytes = HUGE_PAGE + DEVICE_BYTES;
  unsigned char *room =
      mmap(NULL, bytes + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  unsigned char *at = room + (-(uintptr_t)room & (HUGE_PAGE - 1));
  if (room == MAP_FAILED ||
      mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
    bench_fail("no shared memory");
  c = (control *)at;
  device = at + HUGE_PAGE;
}

/* ---- the hand-over */

static void wait_for(uint32_t *word, uint32_t value, uint32_t how) {
  uint64_t sleep_at = how == BENCH_SPIN_THEN_SLEEP ? bench_now_ns() + 50000 : 0;
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
    if (how == BENCH_YIELD)
      sched_yield();
    else if (how == BENCH_SLEEP || (sleep_at && bench_now_ns() >= sleep_at))
      syscall(SYS_futex, word, FUTEX_WAIT, value - 1, NULL, NULL, 0);
    else
      __builtin_ia32_pause();
  }
}

static void tell(uint32_t *word, uint32_t value, uint32_t how) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
  if (how == BENCH_SLEEP || how == BENCH_SPIN_THEN_SLEEP)
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void hand_over(uint32_t how) {
  uint32_t turn = c->asked + 1;
  tell(&c->asked, turn, how);
  wait_for(&c->given, turn, how);
}

/* Sleeps between runs, which begin and end with a hand-over that wakes it. */
static int serve(void) {
  map(bench_make_memory(HUGE_PAGE + DEVICE_BYTES));
  for (size_t at = 0, huge = 1; at < DEVICE_BYTES; at += HUGE_PAGE) {
    device[at] = 1;
    huge = huge && !madvise(device + at, HUGE_PAGE, MADV_COLLAPSE);
  }
  memset(device, 1, DEVICE_BYTES);
  c->wait = BENCH_SLEEP;
  printf("port=%d\n", getpid());
  fflush(stdout);
  for (uint32_t turn = 1; !__atomic_load_n(&c->over, __ATOMIC_ACQUIRE); turn++) {
    wait_for(&c->asked, turn, __atomic_load_n(&c->wait, __ATOMIC_ACQUIRE));
    tell(&c->given, turn, __atomic_load_n(&c->wait, __ATOMIC_ACQUIRE));
  }
  return 0;
}

/* ---- the client */

/* The wait policy of both; the server may still sleep under the one before. */
static void change_wait(uint32_t how) {
  uint32_t turn = c->asked + 1;
  __atomic_store_n(&c->wait, how, __ATOMIC_RELEASE);
  tell(&c->asked, turn, BENCH_SLEEP);
  wait_for(&c->given, turn, BENCH_YIELD);
}

static uint64_t timed_copy(void *to, const void *from, size_t bytes, uint32_t how) {
  hand_over(how); /* the other end is awake when the clock starts */
  uint64_t start = bench_now_ns();
  memcpy(to, from, bytes);
  hand_over(how);
  return bench_now_ns() - start;
}

/* There and back, as a copy to the device and one to the host are measured. */
static void copies(char **words, int out) {
  size_t bytes = bench_number(words[0]), repeats = bench_number(words[1]);
  uint32_t how = (uint32_t)bench_number(words[2]);
  if (bytes > DEVICE_BYTES) bench_fail("at most %zu bytes", DEVICE_BYTES);
  unsigned char *host = bench_touched(bytes);
  uint64_t *samples = bench_touched(repeats * sizeof *samples + 1);
  change_wait(how);
  for (size_t i = 0; i < repeats; i++) {
    bench_fill(host, bytes, i + 1);
    uint64_t sum = bench_checksum(host, bytes), there = timed_copy(device, host, bytes, how);
    memset(host, 0, bytes);
    uint64_t back = timed_copy(host, device, bytes, how);
    if (bench_checksum(host, bytes) != sum) bench_fail("checksums differ");
    samples[i] = out ? there : back;
  }
  change_wait(BENCH_SLEEP);
  bench_summary s = bench_summarise(samples, repeats);
  bench_release(samples, repeats * sizeof *samples + 1);
  bench_release(host, bytes);
  printf("p50_ns=%.0f mean_ns=%.0f", s.p50, s.mean);
}

/* htod BYTES REPEATS WAIT, dtoh likewise */
static void htod(char **words) { copies(words, 1); }
static void dtoh(char **words) { copies(words, 0); }

int main(int argc, char **argv) {
  static const bench_command commands[] = {{"htod", 3, htod}, {"dtoh", 3, dtoh}};
  if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
  if (argc != 3 || strcmp(argv[1], "client") != 0) bench_fail("memcopy server | client NUMBER");
  map(bench_find_memory(bench_number(argv[2])));
  memset(device, 1, DEVICE_BYTES);
  int status = bench_serve(commands, 2);
  __atomic_store_n(&c->over, 1, __ATOMIC_SEQ_CST);
  tell(&c->asked, c->asked + 1, BENCH_SLEEP);
  return status;
}
