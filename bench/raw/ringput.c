/* ringput.c: the baseline of a posted call: a process puts records of a given size into a ring in
 * shared memory, another copies them out. A put does what a posted call's record has to do, and
 * nothing else:
 *   any thread may put: a mutex (a thread that finds it taken sleeps), in a process that has a
 *   second thread, as every program that posts calls has: the C library would else leave the
 *   mutex's atomic instructions out;
 *   the size and the room are checked, a record never crosses the ring's end;
 *   a header with a count, then the payload, word by word;
 *   a drain that sleeps is woken: what is published must be seen by one that is just falling
 *   asleep, so the flag is read behind a full fence. While records keep coming the drain only naps,
 *   so that puts make no system call.
 * `ringput server` makes the memory and prints a number; `ringput client NUMBER` finds it. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "memory.h"

enum { RING_BYTES = 1 << 22, NAP_NS = 50000 };

typedef struct header {
  uint32_t bytes, count;
  uint64_t reserved;
} header;

typedef struct memory {
  _Alignas(64) uint64_t written;  /* by the client */
  _Alignas(64) uint64_t released; /* by the server */
  _Alignas(64) uint32_t asleep;   /* futex word: 1 while the server sleeps; 2: over */
  _Alignas(64) unsigned char ring[RING_BYTES];
} memory;

static memory *m;

static memory *map(int fd) {
  void *at = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) bench_fail("no shared memory");
  close(fd);
  return at;
}

static void wake(void) { syscall(SYS_futex, &m->asleep, FUTEX_WAKE, 1, NULL, NULL, 0); }

/* ---- the client */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t head; /* written under the lock */
static uint32_t count;

static int has_room(uint64_t bytes) {
  return head + bytes - __atomic_load_n(&m->released, __ATOMIC_ACQUIRE) <= RING_BYTES;
}

static void fill(unsigned char *at, uint32_t bytes, uint64_t value) {
  *(header *)at = (header){.bytes = bytes, .count = ++count};
  uint64_t *words = (uint64_t *)(at + sizeof(header));
  for (uint32_t i = 0; i < (bytes - sizeof(header)) / sizeof *words; i++) words[i] = value + i;
}

/* Noinline: a library's call, and its instructions can be counted. */
static __attribute__((noinline)) int put(uint32_t bytes, uint64_t value) {
  if (bytes < sizeof(header) || bytes > RING_BYTES / 4 || bytes % 8) return -1;
  pthread_mutex_lock(&lock);
  uint64_t left = RING_BYTES - (head & (RING_BYTES - 1)), pad = left < bytes ? left : 0;
  while (!has_room(pad + bytes)) sched_yield();
  if (pad) ((header *)(m->ring + (head & (RING_BYTES - 1))))->bytes = 0;
  fill(m->ring + ((head + pad) & (RING_BYTES - 1)), bytes, value);
  head += pad + bytes;
  __atomic_store_n(&m->written, head, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&lock);
  if (__atomic_load_n(&m->asleep, __ATOMIC_SEQ_CST) &&
      __atomic_exchange_n(&m->asleep, 0, __ATOMIC_SEQ_CST))
    wake();
  return 0;
}

static void *stay(void *unused) {
  (void)unused;
  for (;;) pause();
  return NULL;
}

/* run RECORD_BYTES BURSTS BURST: CPU time of the putting thread for each put. */
static void run(char **words) {
  uint64_t bursts = bench_number(words[1]), burst = bench_number(words[2]), cpu = 0;
  uint32_t bytes = (uint32_t)bench_number(words[0]);
  for (uint64_t b = 0; b < bursts; b++) {
    uint64_t start = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < burst; i++)
      if (put(bytes, i)) bench_fail("size");
    cpu += bench_thread_cpu_ns() - start;
    while (__atomic_load_n(&m->released, __ATOMIC_ACQUIRE) != head) sched_yield();
  }
  printf("cpu_ns=%.1f", (double)cpu / (double)(bursts * burst));
}

/* ---- the server */

/* Copies out what is there, as whoever sends it on does; its first byte too many ends the program.
 */
static uint64_t drain(uint64_t from, uint64_t to) {
  static unsigned char out[RING_BYTES];
  static uint32_t expected;
  while (from < to) {
    unsigned char *at = m->ring + (from & (RING_BYTES - 1));
    header h = *(header *)at;
    uint64_t left = RING_BYTES - (from & (RING_BYTES - 1));
    if (h.bytes > left || (h.bytes && h.count != ++expected)) bench_fail("a record is wrong");
    if (h.bytes) memcpy(out, at, h.bytes);
    from += h.bytes ? h.bytes : left;
  }
  __atomic_store_n(&m->released, from, __ATOMIC_RELEASE);
  return from;
}

static int is_empty(uint64_t at) { return __atomic_load_n(&m->written, __ATOMIC_SEQ_CST) == at; }

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL); }

static int sleep_for_more(uint64_t at) {
  __atomic_store_n(&m->asleep, 1, __ATOMIC_SEQ_CST);
  if (is_empty(at)) syscall(SYS_futex, &m->asleep, FUTEX_WAIT, 1, NULL, NULL, 0);
  return __atomic_exchange_n(&m->asleep, 0, __ATOMIC_SEQ_CST) != 2;
}

static int serve(void) {
  m = map(bench_make_memory(sizeof *m));
  memset(m->ring, 1, RING_BYTES); /* every page there */
  prctl(PR_SET_TIMERSLACK, 1000);
  printf("port=%d\n", getpid());
  fflush(stdout);
  for (uint64_t at = 0, more = 1; more;) {
    at = drain(at, __atomic_load_n(&m->written, __ATOMIC_ACQUIRE));
    nap();
    if (is_empty(at)) more = (uint64_t)sleep_for_more(at);
  }
  return 0;
}

int main(int argc, char **argv) {
  static const bench_command commands[] = {{"run", 3, run}};
  if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
  if (argc != 3 || strcmp(argv[1], "client") != 0) bench_fail("ringput server | client NUMBER");
  m = map(bench_find_memory(bench_number(argv[2])));
  memset(m->ring, 1, RING_BYTES); /* every page mapped here too */
  pthread_t second;
  if (pthread_create(&second, NULL, stay, NULL)) bench_fail("no thread");
  int status = bench_serve(commands, 1);
  __atomic_store_n(&m->asleep, 2, __ATOMIC_SEQ_CST);
  wake();
  return status;
}
