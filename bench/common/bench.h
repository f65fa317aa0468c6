/* bench.h: what every measuring program shares: clocks, test data, checksums, percentiles, and the
 * line protocol that the harness speaks with them. Must not know: Remora, CUDA. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of the monotonic clock, and of the calling thread's CPU time. */
uint64_t bench_now_ns(void);
uint64_t bench_thread_cpu_ns(void);

/* Fills memory with bytes that no compressor shrinks; every seed gives other bytes. */
void bench_fill(void *memory, size_t bytes, uint64_t seed);
/* A checksum that depends on every byte and its place (bytes: a multiple of 8). */
uint64_t bench_checksum(const void *memory, size_t bytes);
/* Page-aligned memory, every page written once. Ends the program when there is none. */
void *bench_touched(size_t bytes);
void bench_release(void *memory, size_t bytes);

/* Median, 99th percentile and mean of samples, which are sorted in place. */
typedef struct bench_summary {
  double p50, p99, mean;
} bench_summary;
bench_summary bench_summarise(uint64_t *samples, size_t count);

/* One command of a program: gets its words, prints "key=value ..." without the line's end. */
typedef struct bench_command {
  const char *name;
  int words; /* arguments it takes */
  void (*run)(char **arguments);
} bench_command;
/* Answers one line per line of standard input, until its end. */
int bench_serve(const bench_command *commands, size_t count);

/* Ends the program with "error=..." as its answer, so that the harness can say why. */
void bench_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* A number of the command line, or the program ends. */
uint64_t bench_number(const char *text);

#endif
