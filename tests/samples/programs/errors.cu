// Errors: what is wrong is said by the call or the launch that is wrong, once; a bad access in a
// kernel stays with the process (a child here), until the device is reset or the process ends.
#include "sample.h"
#include <cassert>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

__global__ void store(int *p, int at) {
  if (p) p[at] = 1;
}
__global__ void __launch_bounds__(64) bounded(int *p) { *p = 2; }
__global__ void dynamic_shared(int *p) {
  extern __shared__ int s[];
  s[threadIdx.x] = 3;
  *p = s[threadIdx.x];
}
__global__ void asserting(int x) { assert(x > 5); }
__global__ void trapping() { __trap(); }

// The error of the last launch, which is forgotten by asking.
static cudaError_t last() {
  cudaError_t e = cudaGetLastError();
  EXPECT(cudaGetLastError() == cudaSuccess);
  return e;
}

static void launches() {
  int *d = zeros_on_device<int>(4);
  bounded<<<1, 65>>>(d);
  EXPECT(last() == cudaErrorInvalidValue);
  store<<<1, 1, 1 << 20>>>(d, 0);
  EXPECT(last() == cudaErrorInvalidValue);
  dynamic_shared<<<1, 32, 64 << 10>>>(d);
  EXPECT(last() == cudaErrorInvalidValue);
  CHECK(
      cudaFuncSetAttribute(dynamic_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
  dynamic_shared<<<1, 32, 64 << 10>>>(d);
  CHECK(cudaDeviceSynchronize());
  EXPECT(to_host(d, 1)[0] == 3);
  EXPECT(cudaPeekAtLastError() == cudaSuccess);
}

static void calls() {
  int *d = zeros_on_device<int>(4), count = 0, x = 0;
  CHECK(cudaGetDeviceCount(&count));
  EXPECT(cudaSetDevice(count) == cudaErrorInvalidDevice && last() == cudaErrorInvalidDevice);
  EXPECT(cudaFree(d + 1) == cudaErrorInvalidValue && last() == cudaErrorInvalidValue);
  EXPECT(cudaMemcpy(d, nullptr, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  EXPECT(cudaMemcpy(d, &x, 4, (cudaMemcpyKind)17) == cudaErrorInvalidMemcpyDirection);
  last();
  EXPECT(cudaMemcpy(&x, d + (1 << 28), 4, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  EXPECT(cudaMalloc((void **)nullptr, 4) == cudaErrorInvalidValue);
  last();
  EXPECT(std::string(cudaGetErrorName(cudaErrorInvalidValue)) == "cudaErrorInvalidValue");
  EXPECT(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
  cudaEvent_t never = nullptr;
  EXPECT(cudaEventRecord(never, 0) == cudaErrorInvalidResourceHandle);
  last();
  cudaStream_t s;
  CHECK(cudaStreamCreate(&s));
  CHECK(cudaStreamDestroy(s));
  CHECK(cudaFree(d));
  EXPECT(cudaFree(d) == cudaErrorInvalidValue);
  last();
  CHECK(cudaDeviceSynchronize());
}

// In a child before this process has used CUDA: the fault, and that it stays.
static bool child(void (*harm)(int *), cudaError_t want) {
  pid_t pid = fork();
  if (pid == 0) {
    int *d = zeros_on_device<int>(4), *e;
    harm(d);
    cudaError_t first = cudaDeviceSynchronize(), then = cudaMalloc(&e, 4);
    if (first != want)
      std::printf("want %s: %s\n", cudaGetErrorName(want), cudaGetErrorName(first));
    fflush(stdout);
    bool sticky = then == want && cudaMemcpy(d, d, 4, cudaMemcpyDefault) == want;
    _exit(first != want ? 1 : !sticky ? 2 : cudaGetLastError() != want ? 3 : 0);
  }
  int status;
  bool good = waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!good) std::printf("child for %s: status %x\n", cudaGetErrorName(want), status);
  return good;
}

int main() {
  EXPECT(child([](int *) { store<<<1, 32>>>((int *)0x40, 0); }, cudaErrorIllegalAddress));
  EXPECT(child([](int *d) { store<<<1, 32>>>(d, 1 << 29); }, cudaErrorIllegalAddress));
  EXPECT(child([](int *) { asserting<<<1, 32>>>(4); }, cudaErrorAssert));
  EXPECT(child([](int *) { trapping<<<1, 32>>>(); }, cudaErrorLaunchFailure));
  launches();
  calls();
  return verdict();
}
