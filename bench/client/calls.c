/* calls.c: what a waiting call and a posted call cost the program that makes them. */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cuda.h"
#include "measure.h"
#include "tcp.h"

/* What the calls work on: made once, on first use. */
static struct {
  CUfunction empty;
  CUevent event;
  CUstream stream;
  CUdeviceptr memory;
} made;

static const char empty_kernel[] = ".version 7.0\n.target sm_52\n.address_size 64\n"
                                   ".visible .entry empty(.param .u64 a, .param .u32 n)\n"
                                   "{\n  ret;\n}\n";

static void make_all(void) {
  CUmodule module;
  if (made.stream) return;
  cuda_check("cuStreamCreate", cuda.stream_create(&made.stream, 0));
  cuda_check("cuEventCreate", cuda.event_create(&made.event, 2 /* CU_EVENT_DISABLE_TIMING */));
  cuda_check("cuMemAlloc", cuda.mem_alloc(&made.memory, 4096));
  cuda_check("cuModuleLoadData", cuda.module_load(&module, empty_kernel));
  cuda_check("cuModuleGetFunction", cuda.module_function(&made.empty, module, "empty"));
  cuda_check("cuCtxSynchronize", cuda.synchronize());
}

static CUresult get_limit(void) {
  size_t value;
  return cuda.get_limit(&value, 0 /* CU_LIMIT_STACK_SIZE */);
}
static CUresult ctx_synchronize(void) { return cuda.synchronize(); }
static CUresult stream_synchronize(void) { return cuda.stream_synchronize(made.stream); }

static CUresult launch(void) {
  uint32_t n = 1;
  void *parameters[] = {&made.memory, &n};
  return cuda.launch(made.empty, 1, 1, 1, 1, 1, 1, 0, made.stream, parameters, NULL);
}
static CUresult memset_one(void) { return cuda.memset_d8(made.memory, 1, 1, made.stream); }
static CUresult event_record(void) { return cuda.event_record(made.event, made.stream); }

typedef struct named_call {
  const char *name;
  CUresult (*make)(void);
} named_call;

static const named_call calls[] = {
    {"cuCtxGetLimit", get_limit},
    {"cuCtxSynchronize", ctx_synchronize},
    {"cuStreamSynchronize", stream_synchronize},
    {"cuLaunchKernel", launch},
    {"cuMemsetD8Async", memset_one},
    {"cuEventRecord", event_record},
};

static const named_call *find(const char *name) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if (strcmp(calls[i].name, name) == 0) return &calls[i];
  bench_fail("unknown call: %s", name);
}

void measure_wait(char **words) {
  const named_call *call = find(words[0]);
  size_t count = bench_number(words[1]);
  make_all();
  uint64_t *samples = bench_touched(count * sizeof *samples + 1);
  bench_carried before = bench_tcp_carried();
  for (size_t i = 0; i < count; i++) {
    uint64_t start = bench_now_ns();
    cuda_check(call->name, call->make());
    samples[i] = bench_now_ns() - start;
  }
  bench_carried after = bench_tcp_carried();
  bench_summary s = bench_summarise(samples, count);
  bench_release(samples, count * sizeof *samples + 1);
  printf("p50_ns=%.0f p99_ns=%.0f mean_ns=%.0f sent=%.3f received=%.3f", s.p50, s.p99, s.mean,
         (double)(after.sent - before.sent) / (double)count,
         (double)(after.received - before.received) / (double)count);
}

/* Apart, so that an instruction counter can be switched on for it alone (see instructions.py). */
__attribute__((noinline)) void post_many(CUresult (*make)(void), size_t count) {
  for (size_t i = 0; i < count; i++) cuda_check("a posted call", make());
}

void measure_post(char **words) {
  const named_call *call = find(words[0]);
  size_t bursts = bench_number(words[1]), burst = bench_number(words[2]);
  uint64_t wall = 0, cpu = 0, *samples = bench_touched(bursts * sizeof *samples + 1);
  make_all();
  bench_carried before = bench_tcp_carried();
  for (size_t b = 0; b < bursts; b++) {
    uint64_t start = bench_now_ns(), cpu_start = bench_thread_cpu_ns();
    post_many(call->make, burst);
    cpu += bench_thread_cpu_ns() - cpu_start;
    wall += bench_now_ns() - start;
    cuda_check("cuStreamSynchronize", cuda.stream_synchronize(made.stream));
    samples[b] = bench_now_ns() - start;
  }
  bench_carried after = bench_tcp_carried();
  bench_summary s = bench_summarise(samples, bursts);
  bench_release(samples, bursts * sizeof *samples + 1);
  double count = (double)(bursts * burst);
  printf("cpu_ns=%.1f wall_ns=%.1f drained_ns=%.1f burst_p50_ns=%.0f sent=%.1f",
         (double)cpu / count, (double)wall / count, s.mean / (double)burst, s.p50,
         (double)(after.sent - before.sent) / count);
}

void measure_carried(char **words) {
  (void)words;
  bench_carried c = bench_tcp_carried();
  printf("sent=%llu received=%llu", (unsigned long long)c.sent, (unsigned long long)c.received);
}
