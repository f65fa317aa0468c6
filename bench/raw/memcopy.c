/* memcopy.c: the baseline of a copy over shared memory: one memcpy between touched buffers, the one
 * private, the other shared as the other end's is. The bytes are fresh, and checked afterwards. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

static unsigned char *shared_memory(size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) bench_fail("no shared memory");
  memset(at, 1, bytes);
  return at;
}

static uint64_t timed_copy(void *to, const void *from, size_t bytes) {
  uint64_t start = bench_now_ns();
  memcpy(to, from, bytes);
  return bench_now_ns() - start;
}

/* There and back, as a copy to the device and one to the host are measured. */
static void copies(char **words, int out) {
  size_t bytes = bench_number(words[0]), repeats = bench_number(words[1]);
  unsigned char *host = bench_touched(bytes), *device = shared_memory(bytes);
  uint64_t *samples = bench_touched(repeats * sizeof *samples + 1);
  for (size_t i = 0; i < repeats; i++) {
    bench_fill(host, bytes, i + 1);
    uint64_t sum = bench_checksum(host, bytes), there = timed_copy(device, host, bytes);
    memset(host, 0, bytes);
    uint64_t back = timed_copy(host, device, bytes);
    if (bench_checksum(host, bytes) != sum) bench_fail("checksums differ");
    samples[i] = out ? there : back;
  }
  bench_summary s = bench_summarise(samples, repeats);
  bench_release(samples, repeats * sizeof *samples + 1);
  bench_release(host, bytes);
  munmap(device, bytes);
  printf("p50_ns=%.0f mean_ns=%.0f", s.p50, s.mean);
}

/* htod BYTES REPEATS, dtoh likewise */
static void htod(char **words) { copies(words, 1); }
static void dtoh(char **words) { copies(words, 0); }

int main(void) {
  static const bench_command commands[] = {{"htod", 2, htod}, {"dtoh", 2, dtoh}};
  return bench_serve(commands, 2);
}
