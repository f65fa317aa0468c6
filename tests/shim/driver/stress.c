/* stress.c: eight threads that share one context and mix everything, each checking its own numbers.
 * The second argument says for how many seconds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "driver.h"

#define THREADS 8
#define WORDS_MAX 40000u /* above and below what travels inside a record */

/* add(p, n, x): p[i] += x */
static const char image[] =
    ".version 7.0\n.target sm_52\n.address_size 64\n"
    ".visible .entry add(.param .u64 p, .param .u32 n, .param .u32 x)\n{\n"
    ".reg .pred %q;\n.reg .b32 %r<8>;\n.reg .b64 %d<4>;\n"
    "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\nmov.u32 %r3, %tid.x;\n"
    "mad.lo.u32 %r4, %r1, %r2, %r3;\nld.param.u32 %r5, [n];\nsetp.ge.u32 %q, %r4, %r5;\n@%q ret;\n"
    "ld.param.u64 %d1, [p];\nmul.wide.u32 %d2, %r4, 4;\nadd.u64 %d3, %d1, %d2;\n"
    "ld.param.u32 %r6, [x];\nld.global.u32 %r7, [%d3];\nadd.u32 %r7, %r7, %r6;\n"
    "st.global.u32 [%d3], %r7;\nret;\n}\n";

typedef struct job {
  unsigned seed, rounds;
  uint32_t *pinned, *pageable;
  atomic_uint ran;
  unsigned functions;
} job;

static CUcontext context;
static CUfunction add;
static time_t until;

static unsigned draw(job *j, unsigned below) { return (unsigned)rand_r(&j->seed) % below; }

static void count(void *user) { atomic_fetch_add((atomic_uint *)user, 1); }
static void double_all(void *user) {
  uint32_t *words = user;
  for (uint32_t i = 1; i <= words[0]; i++) words[i] *= 2;
}

static void wait_for(job *j, CUstream stream, CUevent event) {
  CUresult status = CUDA_SUCCESS;
  switch (draw(j, 5)) {
  case 0: OK(cuStreamSynchronize(stream)); break;
  case 1: OK(cuEventSynchronize(event)); break;
  case 2: OK(cuCtxSynchronize()); break;
  case 3:
    while ((status = cuEventQuery(event)) == CUDA_ERROR_NOT_READY) sched_yield();
    break;
  default:
    while ((status = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY) sched_yield();
  }
  OK(status);
}

static void launch(CUdeviceptr p, uint32_t n, uint32_t x, CUstream stream) {
  void *params[] = {&p, &n, &x};
  OK(cuLaunchKernel(add, (n + 127) / 128, 1, 1, 128, 1, 1, 0, stream, params, NULL));
}

static void fill(uint32_t *words, uint32_t n, uint32_t from) {
  for (uint32_t i = 0; i < n; i++) words[i] = from + i;
}

static void check(const uint32_t *words, uint32_t n, uint32_t from, uint32_t step) {
  for (uint32_t i = 0; i < n; i++) EXPECT(words[i] == from + step * i);
}

/* Up, changed by a kernel, and down again, without or with a host function between. */
static void there_and_back(job *j, CUstream stream, CUevent event) {
  uint32_t n = 1 + draw(j, draw(j, 4) ? 500 : WORDS_MAX), from = draw(j, 1u << 20);
  uint32_t *words = draw(j, 2) ? j->pinned : j->pageable;
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, n * 4));
  fill(words, n, from);
  OK(cuMemcpyHtoDAsync_v2(p, words, n * 4, stream));
  launch(p, n, 5, stream);
  if (draw(j, 3) == 0) {
    OK(cuLaunchHostFunc(stream, count, &j->ran));
    j->functions++;
  }
  OK(cuMemcpyDtoHAsync_v2(words, p, n * 4, stream));
  OK(cuEventRecord(event, stream));
  wait_for(j, stream, event);
  check(words, n, from + 5, 1);
  OK(cuMemFree_v2(p));
}

/* Down, doubled by a host function, up and down again: the copy up must read what the function
 * wrote. */
static void through_a_function(job *j, CUstream stream, CUevent event) {
  uint32_t n = 1 + draw(j, 300), from = draw(j, 1u << 20), *words = j->pinned;
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, n * 4));
  fill(j->pageable, n, from);
  OK(cuMemcpyHtoDAsync_v2(p, j->pageable, n * 4, stream));
  words[0] = n;
  OK(cuMemcpyDtoHAsync_v2(words + 1, p, n * 4, stream));
  OK(cuLaunchHostFunc(stream, double_all, words));
  OK(cuMemcpyHtoDAsync_v2(p, words + 1, n * 4, stream));
  launch(p, n, 1, stream);
  OK(cuMemcpyDtoHAsync_v2(words + 1, p, n * 4, stream));
  OK(cuEventRecord(event, stream));
  wait_for(j, stream, event);
  check(words + 1, n, 2 * from + 1, 2);
  OK(cuMemFree_v2(p));
}

/* Two streams, one of which waits for the other. */
static void across(job *j, CUstream stream, CUevent event) {
  uint32_t n = 1 + draw(j, 500), from = draw(j, 1u << 20);
  CUstream other;
  CUdeviceptr p;
  OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  OK(cuMemAlloc_v2(&p, n * 4));
  fill(j->pageable, n, from);
  OK(cuMemcpyHtoDAsync_v2(p, j->pageable, n * 4, stream));
  launch(p, n, 7, stream);
  OK(cuEventRecord(event, stream));
  OK(cuStreamWaitEvent(other, event, 0));
  launch(p, n, 9, other);
  OK(cuMemcpyDtoHAsync_v2(j->pinned, p, n * 4, other));
  OK(cuEventRecord(event, other));
  wait_for(j, other, event);
  check(j->pinned, n, from + 16, 1);
  OK(cuStreamDestroy_v2(other));
  OK(cuMemFree_v2(p));
}

static void one_round(job *j) {
  CUstream own, streams[3];
  CUevent event;
  OK(cuStreamCreate(&own, draw(j, 2) ? CU_STREAM_NON_BLOCKING : 0));
  OK(cuEventCreate(&event, draw(j, 2) ? CU_EVENT_DISABLE_TIMING : 0));
  streams[0] = own, streams[1] = CU_STREAM_PER_THREAD, streams[2] = CU_STREAM_LEGACY;
  CUstream stream = streams[draw(j, 3)];
  switch (draw(j, 4)) {
  case 0: through_a_function(j, stream, event); break;
  case 1: across(j, stream, event); break;
  default: there_and_back(j, stream, event);
  }
  OK(cuEventDestroy_v2(event));
  OK(cuStreamDestroy_v2(own));
}

static void *run(void *user) {
  job *j = user;
  OK(cuCtxSetCurrent(context));
  OK(cuMemHostAlloc((void **)&j->pinned, WORDS_MAX * 4 + 4, 0));
  j->pageable = malloc(WORDS_MAX * 4);
  for (; time(NULL) < until; j->rounds++) one_round(j);
  OK(cuCtxSynchronize());
  EXPECT(j->ran == j->functions);
  OK(cuMemFreeHost(j->pinned));
  free(j->pageable);
  return NULL;
}

int main(int argc, char **argv) {
  static job jobs[THREADS];
  pthread_t threads[THREADS];
  CUmodule module;
  unsigned rounds = 0;
  context = start();
  OK(cuModuleLoadData(&module, image));
  OK(cuModuleGetFunction(&add, module, "add"));
  until = time(NULL) + (argc > 2 ? atoi(argv[2]) : 1);
  for (unsigned i = 0; i < THREADS; i++) {
    jobs[i].seed = i;
    EXPECT(!pthread_create(&threads[i], NULL, run, &jobs[i]));
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    rounds += jobs[i].rounds;
  }
  fprintf(stderr, "%u rounds\n", rounds);
  EXPECT(rounds > 0);
  puts("stress: done");
  return 0;
}
