// Memory on a thread's stack whose size is known only when it runs: in kernels, in functions and in
// loops, kept across barriers and shuffles; more than there is fails the launch.
#include "sample.h"
#include <alloca.h>

__device__ int sum_of_squares(int n) {
  int *squares = (int *)alloca(n * sizeof(int)), sum = 0;
  for (int i = 0; i < n; i++) squares[i] = i * i;
  for (int i = n - 1; i >= 0; i--) sum += squares[i];
  return sum;
}

__device__ __noinline__ int many_times(int n) { // each call gives its memory back
  int sum = 0;
  for (int i = 0; i < 500; i++) sum += sum_of_squares(n + i % 2);
  return sum;
}

__device__ __noinline__ int neighbour(int n) {
  int *mine = (int *)alloca(n * sizeof(int) + 400);
  mine[n] = threadIdx.x;
  __syncthreads();
  int theirs = __shfl_xor_sync(~0u, mine[n], 1);
  __syncthreads();
  return theirs;
}

__global__ void plain(int *out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum_of_squares(threadIdx.x + 1);
}

__global__ void in_loops(int *out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = many_times(threadIdx.x);
}

__global__ void across_barriers(int *out) {
  int n = threadIdx.x + 1, sum = 0;
  int *mine = (int *)alloca(n * sizeof(int));
  for (int i = 0; i < n; i++) mine[i] = threadIdx.x;
  for (int i = 0; i < 200; i++) sum += neighbour(threadIdx.x % 8);
  for (int i = 0; i < n; i++) sum += mine[i];
  out[threadIdx.x] = sum;
}

__global__ void too_much(int *out, int n) {
  int *mine = (int *)alloca((size_t)n * sizeof(int));
  for (int i = 0; i < n; i++) mine[i] = i ^ out[0];
  out[1] = mine[n / 2 + out[0]];
}

static int squares(int n) { return n * (n - 1) * (2 * n - 1) / 6; }

int main() {
  const int blocks = 10, threads = 64;
  int *out = zeros_on_device<int>(blocks * threads);
  plain<<<blocks, threads>>>(out);
  auto got = to_host(out, blocks * threads);
  for (int i = 0; i < blocks * threads; i++) EXPECT(got[i] == squares(i % threads + 1));
  in_loops<<<blocks, threads>>>(out);
  got = to_host(out, blocks * threads);
  for (int i = 0; i < blocks * threads; i++) {
    int n = i % threads;
    EXPECT(got[i] == 250 * (squares(n) + squares(n + 1)));
  }
  across_barriers<<<1, threads>>>(out);
  got = to_host(out, threads);
  for (int i = 0; i < threads; i++) EXPECT(got[i] == i * (i + 1) + 200 * (i ^ 1));
  CHECK(cudaMemset(out, 0, sizeof(int)));
  too_much<<<1, 1>>>(out, 1 << 28);
  EXPECT(cudaDeviceSynchronize() != cudaSuccess);
  return verdict();
}
