/* endings.c: forks, exits, and threads that go. The first argument says which. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

static CUdeviceptr d;
static CUcontext context;

/* Everything in a forked child fails, nothing waits, and the parent doesn't notice. */
static int in_child(void) {
  CUcontext current;
  CUstream stream;
  int count;
  void *at;
  char byte;
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuInit(0));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&count));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuCtxGetCurrent(&current));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuCtxSetCurrent(context));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuCtxSynchronize());
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuMemAlloc_v2(&d, 16));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuMemFree_v2(d));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuMemcpyDtoH_v2(&byte, d, 1));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuMemHostAlloc(&at, 16, 0));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuStreamCreate(&stream, 0));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuStreamQuery(NULL));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuDevicePrimaryCtxRelease_v2(0));
  OK(cuDriverGetVersion(&count));
  return 0;
}

static void *keeps_busy(void *user) {
  volatile int *stop = user;
  OK(cuCtxSetCurrent(context));
  while (!*stop) {
    OK(cuMemsetD8_v2(d, 1, 1 << 16));
    OK(cuCtxSynchronize());
  }
  return NULL;
}

static void forks(void) {
  pthread_t busy;
  volatile int stop = 0;
  EXPECT(!pthread_create(&busy, NULL, keeps_busy, (void *)&stop));
  for (int i = 0; i < 20; i++) {
    int status;
    pid_t child = fork();
    if (!child) {
      alarm(10);
      exit(in_child());
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
    OK(cuMemsetD8_v2(d, 2, 100));
    OK(cuCtxSynchronize());
  }
  stop = 1;
  pthread_join(busy, NULL);
}

/* A child of a process that has the library loaded but no session starts one of its own. */
static void fork_first(void) {
  int status;
  pid_t child = fork();
  if (!child) {
    alarm(10);
    start();
    OK(cuCtxSynchronize());
    exit(0);
  }
  EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
}

static void *initialises(void *user) {
  pthread_barrier_wait(user);
  OK(cuInit(0));
  return NULL;
}

/* One that is forked while another thread is inside the first cuInit gets an answer, whichever. */
static void fork_during(void) {
  pthread_t thread;
  pthread_barrier_t begin;
  pid_t children[20];
  pthread_barrier_init(&begin, NULL, 2);
  EXPECT(!pthread_create(&thread, NULL, initialises, &begin));
  pthread_barrier_wait(&begin);
  for (int i = 0; i < 20; i++) {
    children[i] = fork();
    if (!children[i]) {
      alarm(20);
      CUresult told = cuInit(0);
      _exit(told != CUDA_SUCCESS && told != CUDA_ERROR_NOT_INITIALIZED);
    }
    usleep(200);
  }
  for (int i = 0; i < 20; i++) {
    int status;
    EXPECT(waitpid(children[i], &status, 0) == children[i]);
    EXPECT(WIFEXITED(status) && !WEXITSTATUS(status));
  }
  pthread_join(thread, NULL);
}

/* What CUDA's runtime does at exit, after this library has shut down. */
static const char image[] = ".version 7.0\n.target sm_52\n.address_size 64\n"
                            ".visible .entry nothing()\n{\n  ret;\n}\n";
static CUlibrary library;
static void too_late(void) {
  CUdeviceptr address;
  GIVES(CUDA_ERROR_DEINITIALIZED, cuLibraryUnload(library));
  GIVES(CUDA_ERROR_DEINITIALIZED, cuDevicePrimaryCtxRelease_v2(0));
  GIVES(CUDA_ERROR_DEINITIALIZED, cuMemAlloc_v2(&address, 16));
  GIVES(CUDA_ERROR_DEINITIALIZED, cuCtxSynchronize());
  puts("too late: done");
}

static void *exits(void *user) {
  OK(cuCtxSetCurrent(context));
  OK(cuMemsetD8_v2(d, 5, 1 << 16));
  puts("endings: done");
  exit(*(int *)user);
}

static void exits_in_callback(void *user) {
  puts("endings: done");
  exit(*(int *)user);
}

static void *works_and_goes(void *user) {
  (void)user;
  OK(cuCtxSetCurrent(context));
  OK(cuMemsetD8Async(d, 1, 64, CU_STREAM_PER_THREAD));
  OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
  return NULL;
}

/* More threads than there are ids, one after another. */
static void many_threads(void) {
  for (int i = 0; i < 3000; i++) {
    pthread_t thread;
    EXPECT(!pthread_create(&thread, NULL, works_and_goes, NULL));
    pthread_join(thread, NULL);
  }
}

int main(int argc, char **argv) {
  const char *which = argc > 2 ? argv[2] : "";
  int status = 7;
  pthread_t thread;
  if (!strcmp(which, "fork-first")) fork_first();
  if (!strcmp(which, "fork-during")) fork_during();
  if (!strcmp(which, "too-late")) atexit(too_late);
  context = start();
  OK(cuMemAlloc_v2(&d, 1 << 20));
  if (!strcmp(which, "fork")) forks();
  if (!strcmp(which, "threads")) many_threads();
  if (!strcmp(which, "too-late"))
    OK(cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0));
  if (!strcmp(which, "exit-elsewhere")) {
    pthread_create(&thread, NULL, exits, &status);
    pthread_join(thread, NULL);
  }
  if (!strcmp(which, "exit-in-callback")) {
    OK(cuLaunchHostFunc(NULL, exits_in_callback, &status));
    cuCtxSynchronize(); /* ended by the exit */
    pause();
  }
  if (!strcmp(which, "unsynchronised"))
    for (int i = 0; i < 1000; i++) OK(cuMemsetD8Async(d, 1, 1 << 20, NULL));
  puts("endings: done");
  return 0;
}
