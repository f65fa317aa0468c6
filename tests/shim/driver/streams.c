/* streams.c: streams, events, host functions, and handles that are not what they seem. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

static atomic_int opened, ran;
static pthread_t main_thread;

static void wait_for_opening(void *user) {
  (void)user;
  EXPECT(!pthread_equal(pthread_self(), main_thread));
  while (!opened) usleep(200);
}

static void count(void *user) { *(atomic_int *)user += 1; }

static CUcontext the_context;

static void calls_cuda(void *user) {
  CUdeviceptr d;
  OK(cuCtxSetCurrent(the_context));
  *(int *)user = (int)cuMemAlloc_v2(&d, 16);
}

static void called_back(CUstream stream, CUresult status, void *user) {
  EXPECT(status == CUDA_SUCCESS);
  *(CUstream *)user = stream;
}

static void until_done(CUstream stream) {
  CUresult status;
  while ((status = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY) usleep(100);
  OK(status);
}

static void facts(CUcontext context) {
  CUstream a, b;
  CUcontext of;
  unsigned flags;
  int priority;
  unsigned long long id_a, id_b, id_default;
  CUstreamCaptureStatus capture;
  OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreateWithPriority(&b, 0, -1000));
  OK(cuStreamGetFlags(a, &flags));
  EXPECT(flags == CU_STREAM_NON_BLOCKING);
  OK(cuStreamGetPriority(b, &priority));
  EXPECT(priority <= 0 && priority > -1000);
  OK(cuStreamGetId(a, &id_a));
  OK(cuStreamGetId(b, &id_b));
  OK(cuStreamGetId(NULL, &id_default));
  EXPECT(id_a != id_b && id_a != id_default && id_b != id_default);
  OK(cuStreamGetCtx(a, &of));
  EXPECT(of == context);
  OK(cuStreamIsCapturing(a, &capture));
  EXPECT(capture == CU_STREAM_CAPTURE_STATUS_NONE);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(&a, 0x80));
  OK(cuStreamDestroy_v2(a));
  OK(cuStreamDestroy_v2(b));
}

static void forged(void) {
  CUstream stream, fake = (CUstream)&stream;
  CUevent event;
  char inside[64];
  OK(cuStreamCreate(&stream, 0));
  OK(cuEventCreate(&event, 0));
  memcpy(inside, stream, sizeof inside);
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(fake));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize((CUstream)inside));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize((CUstream)((char *)stream + 8)));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize((CUstream)event));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuEventRecord((CUevent)stream, stream));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamWaitEvent(stream, (CUevent)stream, 0));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuMemsetD8Async(0x1000, 0, 1, (CUstream)event));
  OK(cuStreamDestroy_v2(stream));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy_v2(stream));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamQuery(stream));
  OK(cuEventDestroy_v2(event));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuEventQuery(event));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload((CUmodule)event));
}

/* A stream that stands still says so, however often it is asked; others go on. */
static void queries(void) {
  CUstream still, other;
  CUevent before, after, never;
  OK(cuStreamCreate(&still, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&before, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&after, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&never, CU_EVENT_DISABLE_TIMING));
  OK(cuStreamQuery(still));
  OK(cuEventQuery(never));
  OK(cuEventSynchronize(never));
  opened = 0;
  OK(cuEventRecord(before, still));
  OK(cuLaunchHostFunc(still, wait_for_opening, NULL));
  OK(cuEventRecord(after, still));
  OK(cuEventSynchronize(before));
  OK(cuEventQuery(before));
  for (int i = 0; i < 1000; i++) {
    GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(still));
    GIVES(CUDA_ERROR_NOT_READY, cuEventQuery(after));
  }
  OK(cuStreamSynchronize(other));
  OK(cuStreamQuery(other));
  OK(cuStreamWaitEvent(other, after, 0));
  GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(other));
  opened = 1;
  until_done(other);
  until_done(still);
  OK(cuEventQuery(after));
  /* What a wait has shown is known at once. */
  for (int i = 0; i < 50; i++) {
    OK(cuLaunchHostFunc(still, count, &ran));
    OK(cuEventRecord(after, still));
    OK(cuStreamSynchronize(still));
    OK(cuStreamQuery(still));
    OK(cuEventQuery(after));
    OK(cuLaunchHostFunc(still, count, &ran));
    OK(cuEventRecord(after, still));
    OK(cuEventSynchronize(after));
    OK(cuStreamQuery(still));
    OK(cuLaunchHostFunc(other, count, &ran));
    OK(cuCtxSynchronize());
    OK(cuStreamQuery(other));
    OK(cuStreamQuery(NULL));
  }
  EXPECT(ran == 150);
  OK(cuStreamDestroy_v2(still));
  OK(cuStreamDestroy_v2(other));
  OK(cuEventDestroy_v2(before));
  OK(cuEventDestroy_v2(after));
  OK(cuEventDestroy_v2(never));
}

static void host_functions(void) {
  CUstream stream, seen = NULL;
  int status = -1;
  OK(cuStreamCreate(&stream, 0));
  OK(cuLaunchHostFunc(stream, calls_cuda, &status));
  OK(cuStreamAddCallback(stream, called_back, &seen, 0));
  OK(cuStreamSynchronize(stream));
  EXPECT(status == CUDA_ERROR_NOT_PERMITTED);
  EXPECT(seen == stream);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchHostFunc(stream, NULL, NULL));
  OK(cuStreamDestroy_v2(stream));
}

static void timing(void) {
  CUevent start, end, untimed;
  float ms = -1;
  struct timespec nap = {0, 20000000};
  OK(cuEventCreate(&start, 0));
  OK(cuEventCreate(&end, 0));
  OK(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
  OK(cuEventRecord(start, NULL));
  OK(cuCtxSynchronize());
  nanosleep(&nap, NULL);
  OK(cuEventRecord(end, NULL));
  OK(cuEventRecord(untimed, NULL));
  OK(cuEventSynchronize(end));
  OK(cuEventElapsedTime(&ms, start, end));
  EXPECT(ms >= 15 && ms < 5000);
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, untimed));
}

/* Ids are used again; nothing of an old stream or event sticks to a new one. */
static void many(void) {
  CUstream streams[64];
  CUevent events[64];
  CUdeviceptr d;
  OK(cuMemAlloc_v2(&d, 4096));
  for (int round = 0; round < 30; round++) {
    for (int i = 0; i < 64; i++) {
      OK(cuStreamCreate(&streams[i], i % 2));
      OK(cuEventCreate(&events[i], CU_EVENT_DISABLE_TIMING));
      OK(cuEventQuery(events[i]));
      OK(cuStreamQuery(streams[i]));
      OK(cuMemsetD8Async(d, 1, 4096, streams[i]));
      OK(cuEventRecord(events[i], streams[i]));
      cuEventQuery(events[i]);
    }
    for (int i = 0; i < 64; i++) {
      OK(cuEventDestroy_v2(events[i]));
      OK(cuStreamDestroy_v2(streams[i]));
    }
  }
  OK(cuCtxSynchronize());
  OK(cuMemFree_v2(d));
}

/* A new thread's default stream is idle, works, and is its own. */
static void *own_stream(void *user) {
  unsigned long long *id = user;
  CUdeviceptr d;
  OK(cuCtxSetCurrent(the_context));
  OK(cuStreamQuery(CU_STREAM_PER_THREAD));
  OK(cuStreamGetId(CU_STREAM_PER_THREAD, id));
  OK(cuMemAlloc_v2(&d, 4096));
  OK(cuMemsetD8Async(d, 1, 4096, CU_STREAM_PER_THREAD));
  until_done(CU_STREAM_PER_THREAD);
  OK(cuMemFree_v2(d));
  return NULL;
}

static void per_thread(void) {
  unsigned long long a, b;
  pthread_t thread;
  EXPECT(!pthread_create(&thread, NULL, own_stream, &a));
  own_stream(&b);
  pthread_join(thread, NULL);
  EXPECT(a != b);
}

/* A name that no record can carry is an error of the call, not of the session. */
static void long_name(void) {
  size_t n = 8 << 20;
  char *name = malloc(n);
  CUmodule module;
  CUfunction f;
  OK(cuModuleLoadData(&module, ".version 7.0\n.target sm_52\n.address_size 64\n"
                               ".visible .entry nothing()\n{\n  ret;\n}\n"));
  memset(name, 'x', n - 1), name[n - 1] = 0;
  EXPECT(cuModuleGetFunction(&f, module, name) != CUDA_SUCCESS);
  OK(cuModuleGetFunction(&f, module, "nothing"));
  OK(cuCtxSynchronize());
  free(name);
}

int main(void) {
  CUcontext context = the_context = start();
  main_thread = pthread_self();
  facts(context);
  forged();
  queries();
  host_functions();
  timing();
  many();
  per_thread();
  long_name();
  puts("streams: done");
  return 0;
}
