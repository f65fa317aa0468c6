// flags: -std=c++17
// Threads with a stream and mapped memory each, all at once: launches, fills, copies and waits.
#include <thread>

#include "sample.h"

__global__ void increment(int *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i]++;
}

static void work(int seed) {
  const int n = 3000;
  int *x, *d;
  cudaStream_t stream;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK(cudaHostAlloc(&x, n * sizeof(int), cudaHostAllocMapped));
  CHECK(cudaMalloc(&d, n * sizeof(int)));
  for (int round = 0; round < 60; round++) {
    x[round] = seed;
    increment<<<12, 256, 0, stream>>>(x, n);
    CHECK(cudaStreamSynchronize(stream));
    EXPECT(x[round] == seed + 1 && x[n - 1] == round % 20 + 1);
    CHECK(cudaMemcpyAsync(d, x, n * sizeof(int), cudaMemcpyDefault, stream));
    increment<<<12, 256, 0, stream>>>(d, n);
    CHECK(cudaMemcpyAsync(x, d, 50 * sizeof(int), cudaMemcpyDefault, stream));
    CHECK(cudaStreamSynchronize(stream));
    EXPECT(x[0] == to_host(d, 1)[0]);
    if (round % 20 == 19) CHECK(cudaMemsetAsync(x, 0, n * sizeof(int), stream));
    CHECK(cudaStreamSynchronize(stream));
  }
  CHECK(cudaFreeHost(x));
  CHECK(cudaFree(d));
  CHECK(cudaStreamDestroy(stream));
}

int main() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) threads.emplace_back(work, 1000 * i);
  for (std::thread &thread : threads) thread.join();
  return verdict();
}
