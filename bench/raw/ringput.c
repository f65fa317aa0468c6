/* ringput.c: the baseline of a posted call: one thread writes records of a given size into a ring
 * in memory, another reads them. No locks, no system calls: what a put costs at the very least. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

enum { RING_BYTES = 1 << 22 };

static unsigned char ring[RING_BYTES];
static _Alignas(64) _Atomic uint64_t written;
static _Alignas(64) _Atomic uint64_t released;
static _Atomic int over;
static uint32_t record_bytes; /* a divisor-free wrap: a record never crosses the ring's end */

static uint64_t room_for(uint64_t at) {
  uint64_t left = RING_BYTES - (at & (RING_BYTES - 1));
  return left < record_bytes ? at + left : at;
}

static void put(uint64_t value) {
  uint64_t at = room_for(atomic_load_explicit(&written, memory_order_relaxed));
  while (at + record_bytes - atomic_load_explicit(&released, memory_order_acquire) > RING_BYTES) {
  }
  uint64_t *record = (uint64_t *)(ring + (at & (RING_BYTES - 1)));
  for (uint32_t i = 0; i < record_bytes / sizeof *record; i++) record[i] = value + i;
  atomic_store_explicit(&written, at + record_bytes, memory_order_release);
}

static void *drain(void *unused) {
  (void)unused;
  while (!atomic_load(&over)) {
    uint64_t end = atomic_load_explicit(&written, memory_order_acquire);
    if (end == atomic_load_explicit(&released, memory_order_relaxed)) sched_yield();
    atomic_store_explicit(&released, end, memory_order_release);
  }
  return NULL;
}

/* run RECORD_BYTES BURSTS BURST: CPU time of the putting thread. */
static void run(char **words) {
  uint64_t bursts = bench_number(words[1]), burst = bench_number(words[2]), cpu = 0;
  record_bytes = (uint32_t)bench_number(words[0]);
  if (record_bytes < 8 || record_bytes % 8 || record_bytes > RING_BYTES / 4) bench_fail("size");
  pthread_t reader;
  atomic_store(&over, 0);
  if (pthread_create(&reader, NULL, drain, NULL)) bench_fail("no thread");
  for (uint64_t b = 0; b < bursts; b++) {
    uint64_t start = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < burst; i++) put(i);
    cpu += bench_thread_cpu_ns() - start;
    while (atomic_load(&released) != atomic_load(&written)) sched_yield();
  }
  atomic_store(&over, 1);
  pthread_join(reader, NULL);
  printf("cpu_ns=%.1f", (double)cpu / (double)(bursts * burst));
}

int main(void) {
  static const bench_command commands[] = {{"run", 3, run}};
  memset(ring, 1, sizeof ring); /* every page there */
  return bench_serve(commands, 1);
}
