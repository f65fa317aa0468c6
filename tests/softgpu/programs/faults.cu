// Errors that corrupt a context: sticky, and the process lives on.
#include "check.h"
#include <cassert>
#include <cstring>

__global__ void wild(int *p) { p[threadIdx.x] = 1; }
__global__ void failing(int x) { assert(x == 1); }
__global__ void trapping() { asm("trap;"); }

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "wild";
  cudaError_t want = cudaErrorIllegalAddress;
  int *p;
  CHECK(cudaMalloc(&p, 4096));
  if (!strcmp(what, "wild")) wild<<<4, 64>>>((int *)0x123450000);
  if (!strcmp(what, "null")) wild<<<1, 64>>>(nullptr);
  if (!strcmp(what, "beyond")) wild<<<1, 64>>>(p + 1024);
  if (!strcmp(what, "assert")) failing<<<1, 1>>>(2), want = cudaErrorAssert;
  if (!strcmp(what, "trap")) trapping<<<1, 1>>>(), want = cudaErrorLaunchFailure;
  REQUIRE(cudaDeviceSynchronize() == want);
  REQUIRE(cudaMalloc(&p, 16) == want);
  REQUIRE(cudaStreamSynchronize(0) == want);
  std::puts("OK");
}
