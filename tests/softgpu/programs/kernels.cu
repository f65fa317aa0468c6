// Shared memory, warp operations, atomics, cooperative groups, globals, printf.
#include "check.h"
#include <cooperative_groups.h>
#include <vector>

namespace cg = cooperative_groups;

__constant__ float weights[4] = {1, 2, 3, 4};
__device__ int counter = 5;

__global__ void reduce(const int *x, int n, unsigned long long *sum) {
  __shared__ int part[256];
  int v = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) v += x[i];
  part[threadIdx.x] = v;
  __syncthreads();
  for (int k = 128; k > 0; k /= 2) {
    if (threadIdx.x < k) part[threadIdx.x] += part[threadIdx.x + k];
    __syncthreads();
  }
  if (threadIdx.x == 0) atomicAdd(sum, (unsigned long long)part[0]);
}

__global__ void warp_sum(const int *x, int *sums) {
  extern __shared__ int sums_of_warps[];
  int v = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int k = 16; k > 0; k /= 2) v += __shfl_down_sync(~0u, v, k);
  if (threadIdx.x % 32 == 0) sums_of_warps[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0) {
    int s = 0;
    for (int i = 0; i < blockDim.x / 32; i++) s += sums_of_warps[i];
    sums[blockIdx.x] = s;
  }
}

__global__ void histogram(const int *x, int n, int *bins) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&bins[x[i] % 16], 1);
}

__global__ void grid_wide(int *x, int rounds) {
  cg::grid_group grid = cg::this_grid();
  unsigned me = grid.thread_rank(), all = grid.size();
  for (int r = 0; r < rounds; r++) {
    int next = x[(me + 1) % all];
    grid.sync();
    x[me] = next;
    grid.sync();
  }
}

__global__ void globals(float *out) {
  out[threadIdx.x] = weights[threadIdx.x];
  if (threadIdx.x == 0) counter += 10;
}

__global__ void say() { printf("hello from %d of %s, %.2f\n", threadIdx.x, "device", 0.5); }

int main() {
  const int n = 1 << 18;
  std::vector<int> x(n);
  long long want = 0;
  for (int i = 0; i < n; i++) want += x[i] = i * 7 % 1000;
  int *dx, *dy;
  unsigned long long *sum, got;
  CHECK(cudaMalloc(&dx, n * sizeof(int)));
  CHECK(cudaMalloc(&dy, n * sizeof(int)));
  CHECK(cudaMalloc(&sum, sizeof *sum));
  CHECK(cudaMemset(sum, 0, sizeof *sum));
  CHECK(cudaMemcpy(dx, x.data(), n * sizeof(int), cudaMemcpyHostToDevice));
  reduce<<<64, 256>>>(dx, n, sum);
  CHECK(cudaMemcpy(&got, sum, sizeof got, cudaMemcpyDeviceToHost));
  REQUIRE((long long)got == want);

  std::vector<int> y(n);
  warp_sum<<<n / 256, 256, 8 * sizeof(int)>>>(dx, dy);
  CHECK(cudaMemcpy(y.data(), dy, n / 256 * sizeof(int), cudaMemcpyDeviceToHost));
  long long total = 0;
  for (int i = 0; i < n / 256; i++) total += y[i];
  REQUIRE(total == want);

  int bins[16] = {};
  CHECK(cudaMemset(dy, 0, sizeof bins));
  histogram<<<n / 256, 256>>>(dx, n, dy);
  CHECK(cudaMemcpy(bins, dy, sizeof bins, cudaMemcpyDeviceToHost));
  for (int i = 0; i < n; i++) bins[x[i] % 16]--;
  for (int i = 0; i < 16; i++) REQUIRE(bins[i] == 0);

  int rounds = 3, blocks = 8, threads = 64;
  for (int i = 0; i < blocks * threads; i++) y[i] = i;
  CHECK(cudaMemcpy(dy, y.data(), blocks * threads * sizeof(int), cudaMemcpyHostToDevice));
  void *arguments[] = {&dy, &rounds};
  CHECK(cudaLaunchCooperativeKernel(grid_wide, blocks, threads, arguments));
  CHECK(cudaMemcpy(y.data(), dy, blocks * threads * sizeof(int), cudaMemcpyDeviceToHost));
  for (int i = 0; i < blocks * threads; i++) REQUIRE(y[i] == (i + rounds) % (blocks * threads));

  float *out, w[4] = {};
  CHECK(cudaMalloc(&out, sizeof w));
  globals<<<1, 4>>>(out);
  CHECK(cudaMemcpy(w, out, sizeof w, cudaMemcpyDeviceToHost));
  for (int i = 0; i < 4; i++) REQUIRE(w[i] == i + 1);
  int count;
  CHECK(cudaMemcpyFromSymbol(&count, counter, sizeof count));
  REQUIRE(count == 15);

  say<<<1, 2>>>();
  CHECK(cudaDeviceSynchronize());
  std::puts("OK");
}
