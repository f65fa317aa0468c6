/* bench.c: clocks, data, percentiles and the command loop of the measuring programs. */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t bench_thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

/* splitmix64 (Steele, Lea, Flood 2014): a different word for every counter value. */
static uint64_t mixed(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void bench_fill(void *memory, size_t bytes, uint64_t seed) {
  unsigned char *to = memory;
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    uint64_t word = mixed(seed * 0x100000001u + at + 1);
    size_t n = bytes - at < sizeof word ? bytes - at : sizeof word;
    memcpy(to + at, &word, n);
  }
}

uint64_t bench_checksum(const void *memory, size_t bytes) {
  const unsigned char *from = memory;
  uint64_t sum = 0xcbf29ce484222325u;
  for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
    uint64_t word;
    memcpy(&word, from + at, sizeof word);
    sum = (sum ^ word) * 0x100000001b3u;
    sum ^= sum >> 29;
  }
  return sum;
}

void *bench_touched(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) bench_fail("no memory for %zu bytes", bytes);
  memset(memory, 0xa5, bytes);
  return memory;
}

void bench_release(void *memory, size_t bytes) { munmap(memory, bytes); }

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

bench_summary bench_summarise(uint64_t *samples, size_t count) {
  bench_summary s = {0};
  if (count == 0) return s;
  for (size_t i = 0; i < count; i++) s.mean += (double)samples[i];
  s.mean /= (double)count;
  qsort(samples, count, sizeof *samples, ascending);
  s.p50 = (double)(samples[(count - 1) / 2] + samples[count / 2]) / 2;
  s.p99 = (double)samples[count * 99 / 100];
  return s;
}

void bench_fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  printf("error=");
  vprintf(format, list);
  printf("\n");
  fflush(stdout);
  va_end(list);
  exit(1);
}

uint64_t bench_number(const char *text) {
  char *end;
  errno = 0;
  uint64_t n = strtoull(text, &end, 0);
  if (errno || end == text || *end) bench_fail("not a number: %s", text);
  return n;
}

enum { MOST_WORDS = 12 };

static void answer(const bench_command *commands, size_t count, char *line) {
  char *words[MOST_WORDS + 1] = {0};
  int n = 0;
  for (char *w = strtok(line, " \n"); w && n < MOST_WORDS; w = strtok(NULL, " \n")) words[n++] = w;
  for (size_t i = 0; n > 0 && i < count; i++) {
    if (strcmp(words[0], commands[i].name) != 0) continue;
    if (n - 1 != commands[i].words) bench_fail("%s takes %d words", words[0], commands[i].words);
    commands[i].run(words + 1);
    printf("\n");
    fflush(stdout);
    return;
  }
  bench_fail("unknown command: %s", n ? words[0] : "(none)");
}

int bench_serve(const bench_command *commands, size_t count) {
  char line[512];
  while (fgets(line, sizeof line, stdin)) answer(commands, count, line);
  return 0;
}
