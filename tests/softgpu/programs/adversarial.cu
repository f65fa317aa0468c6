// Kernels that need fair scheduling: locks, waiting across blocks, divergence, calls of all kinds.
#include "check.h"
#include <vector>

__global__ void locked(int *lock, int *count) {
  for (bool done = false; !done;)
    if (atomicCAS(lock, 0, 1) == 0) {
      *(volatile int *)count += 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
}

// Block 0 waits for the last block: more blocks than workers.
__global__ void backwards(volatile int *flags, int *order) {
  if (threadIdx.x == 0) {
    if (blockIdx.x + 1 < gridDim.x)
      while (!flags[blockIdx.x + 1]) {
      }
    order[blockIdx.x] = atomicAdd(order + gridDim.x, 1);
    __threadfence();
    flags[blockIdx.x] = 1;
  }
}

// Each block adds its predecessor's sum.
__global__ void look_back(const int *x, int *out, volatile int *ready, volatile int *sums) {
  __shared__ int part[128], before;
  int i = blockIdx.x * 128 + threadIdx.x;
  part[threadIdx.x] = x[i];
  __syncthreads();
  for (int k = 1; k < 128; k *= 2) {
    int v = threadIdx.x >= k ? part[threadIdx.x - k] : 0;
    __syncthreads();
    part[threadIdx.x] += v;
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    before = 0;
    if (blockIdx.x) {
      while (!ready[blockIdx.x - 1]) {
      }
      __threadfence();
      before = sums[blockIdx.x - 1];
    }
    sums[blockIdx.x] = before + part[127];
    __threadfence();
    ready[blockIdx.x] = 1;
  }
  __syncthreads();
  out[i] = before + part[threadIdx.x];
}

__global__ void divergent(int *out) {
  int lane = threadIdx.x % 32, v = lane;
  if (lane < 16)
    v = __shfl_xor_sync(0x0000ffff, v, 5);
  else
    v = __reduce_add_sync(0xffff0000, v);
  __syncwarp();
  unsigned odd = __ballot_sync(~0u, lane & 1);
  if (threadIdx.x < 64)
    asm volatile("bar.sync 1, 64;");
  else
    asm volatile("bar.sync 2, 64;");
  out[threadIdx.x] = v + (odd == 0xaaaaaaaa ? 1000 : 0);
}

__device__ int ackermann(int m, int n) {
  return m == 0 ? n + 1 : ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}
typedef int (*operation)(int);
__device__ int twice(int x) { return 2 * x; }
__device__ int square(int x) { return x * x; }
__device__ operation table[2] = {twice, square};
struct Shape {
  __device__ virtual int area() const { return 0; }
};
struct Box : Shape {
  int w, h;
  __device__ Box(int a, int b) : w(a), h(b) {}
  __device__ int area() const override { return w * h; }
};
__global__ void calls(int *out) {
  int i = threadIdx.x;
  Shape *s = new Box(i, 3);
  out[i] = ackermann(2, i % 4) + table[i % 2](i) + s->area();
  delete s;
}

int main() {
  const int blocks = 40, n = blocks * 128;
  int *d;
  std::vector<int> h(4 * n);
  CHECK(cudaMalloc(&d, 4 * n * sizeof(int)));
  auto fetch = [&] { CHECK(cudaMemcpy(h.data(), d, 4 * n * sizeof(int), cudaMemcpyDeviceToHost)); };
  auto clear = [&] { CHECK(cudaMemset(d, 0, 4 * n * sizeof(int))); };

  clear();
  locked<<<8, 64>>>(d, d + 1);
  fetch();
  REQUIRE(h[1] == 512);

  clear();
  backwards<<<blocks, 32>>>(d, d + n);
  fetch();
  for (int i = 0; i < blocks; i++) REQUIRE(h[n + i] == blocks - 1 - i);

  clear();
  for (int i = 0; i < n; i++) h[i] = i % 7;
  CHECK(cudaMemcpy(d, h.data(), n * sizeof(int), cudaMemcpyHostToDevice));
  look_back<<<blocks, 128>>>(d, d + n, d + 2 * n, d + 3 * n);
  fetch();
  for (int i = 0, sum = 0; i < n; i++) REQUIRE(h[n + i] == (sum += i % 7));

  divergent<<<1, 128>>>(d);
  fetch();
  for (int i = 0; i < 128; i++) REQUIRE(h[i] == 1000 + (i % 32 < 16 ? (i % 32) ^ 5 : 376));

  calls<<<1, 64>>>(d);
  fetch();
  for (int i = 0; i < 64; i++) REQUIRE(h[i] == 2 * (i % 4) + 3 + (i % 2 ? i * i : 2 * i) + 3 * i);
  std::puts("OK");
}
