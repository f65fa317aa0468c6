// Two devices: each its own memory and globals, copies between them, threads apart.
#include "check.h"
#include <cstring>
#include <thread>

__device__ int tag = 1;
__global__ void add(int *x, int n) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) x[i] += tag;
}

static void on_device(int d, int *result) {
  const int n = 5000;
  int *x, mark = d + 10;
  CHECK(cudaSetDevice(d));
  CHECK(cudaMemcpyToSymbol(tag, &mark, sizeof mark));
  CHECK(cudaMalloc(&x, n * sizeof(int)));
  CHECK(cudaMemset(x, 0, n * sizeof(int)));
  for (int i = 0; i < 20; i++) add<<<(n + 63) / 64, 64>>>(x, n);
  CHECK(cudaMemcpy(result, x + n - 1, sizeof *result, cudaMemcpyDeviceToHost));
}

int main() {
  int count, results[2];
  CHECK(cudaGetDeviceCount(&count));
  REQUIRE(count == 2);
  std::thread a(on_device, 0, &results[0]), b(on_device, 1, &results[1]);
  a.join(), b.join();
  REQUIRE(results[0] == 200 && results[1] == 220);
  cudaDeviceProp p, q;
  CHECK(cudaGetDeviceProperties(&p, 0));
  CHECK(cudaGetDeviceProperties(&q, 1));
  REQUIRE(memcmp(&p.uuid, &q.uuid, sizeof p.uuid) && p.pciBusID != q.pciBusID);
  int *x, *y, v = 42;
  CHECK(cudaSetDevice(0));
  CHECK(cudaMalloc(&x, 4));
  CHECK(cudaMemcpy(x, &v, 4, cudaMemcpyHostToDevice));
  CHECK(cudaSetDevice(1));
  CHECK(cudaMalloc(&y, 4));
  CHECK(cudaMemcpyPeer(y, 1, x, 0, 4));
  CHECK(cudaMemcpy(&v, y, 4, cudaMemcpyDeviceToHost));
  REQUIRE(v == 42);
  std::puts("OK");
}
