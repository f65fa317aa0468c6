/* copies.c: copies between this program's memory and the device's. The payload is incompressible,
 * the destination touched, and every copy checked against what was sent once the clock stopped. */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cuda.h"
#include "measure.h"

typedef struct host_memory {
  void *bytes;
  size_t size;
  int pinned;
} host_memory;

static host_memory take(size_t size, const char *kind) {
  host_memory m = {NULL, size, strcmp(kind, "pinned") == 0};
  if (!m.pinned && strcmp(kind, "pageable") != 0) bench_fail("unknown memory: %s", kind);
  if (!m.pinned) m.bytes = bench_touched(size);
  if (m.pinned) cuda_check("cuMemHostAlloc", cuda.host_alloc(&m.bytes, size, 0));
  memset(m.bytes, 0xa5, size);
  return m;
}

static void give_back(host_memory m) {
  if (m.pinned) cuda_check("cuMemFreeHost", cuda.host_free(m.bytes));
  if (!m.pinned) bench_release(m.bytes, m.size);
}

/* A call that is always forwarded: both ends are awake when the clock starts, as in the raw stream.
 */
static void greet(void) {
  size_t value;
  cuda_check("cuCtxGetLimit", cuda.get_limit(&value, 0));
}

/* To the device: finished when the device has it. */
static uint64_t timed_htod(CUdeviceptr to, const host_memory *from) {
  greet();
  uint64_t start = bench_now_ns();
  cuda_check("cuMemcpyHtoD", cuda.copy_htod(to, from->bytes, from->size));
  cuda_check("cuCtxSynchronize", cuda.synchronize());
  return bench_now_ns() - start;
}

static uint64_t timed_dtoh(const host_memory *to, CUdeviceptr from) {
  greet();
  uint64_t start = bench_now_ns();
  cuda_check("cuMemcpyDtoH", cuda.copy_dtoh(to->bytes, from, to->size));
  return bench_now_ns() - start;
}

/* There and back with fresh bytes; the clock of the direction asked for is returned. */
static uint64_t round_trip(CUdeviceptr device, const host_memory *host, uint64_t seed, int htod) {
  bench_fill(host->bytes, host->size, seed);
  uint64_t sent = bench_checksum(host->bytes, host->size);
  uint64_t there = timed_htod(device, host);
  memset(host->bytes, 0, host->size);
  uint64_t back = timed_dtoh(host, device);
  if (bench_checksum(host->bytes, host->size) != sent) bench_fail("the copy changed its bytes");
  return htod ? there : back;
}

static void measure(char **words, int htod) {
  size_t size = bench_number(words[0]), repeats = bench_number(words[2]);
  host_memory host = take(size, words[1]);
  uint64_t *samples = bench_touched(repeats * sizeof *samples + 1);
  CUdeviceptr device;
  cuda_check("cuMemAlloc", cuda.mem_alloc(&device, size));
  cuda_check("cuMemsetD8Async", cuda.memset_d8(device, 0xa5, size, NULL)); /* every page there */
  cuda_check("cuCtxSynchronize", cuda.synchronize());
  for (size_t i = 0; i < repeats; i++) samples[i] = round_trip(device, &host, i + 1, htod);
  cuda_check("cuMemFree", cuda.mem_free(device));
  bench_summary s = bench_summarise(samples, repeats);
  bench_release(samples, repeats * sizeof *samples + 1);
  give_back(host);
  printf("p50_ns=%.0f mean_ns=%.0f", s.p50, s.mean);
}

void measure_htod(char **words) { measure(words, 1); }
void measure_dtoh(char **words) { measure(words, 0); }
