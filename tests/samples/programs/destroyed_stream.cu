// A stream that is destroyed while it has work: the work still runs, and waiting for the device
// waits for it.
#include "sample.h"

__global__ void linger(int *x, long long ticks) {
  for (long long start = clock64(); clock64() - start < ticks;) {
  }
  *x += 7;
}

int main() {
  int *d = zeros_on_device<int>(1);
  cudaStream_t busy;
  CHECK(cudaStreamCreateWithFlags(&busy, cudaStreamNonBlocking));
  CHECK(cudaDeviceSynchronize());
  linger<<<1, 1, 0, busy>>>(d, 100000000);
  linger<<<1, 1, 0, busy>>>(d, 100000000);
  CHECK(cudaStreamDestroy(busy));
  CHECK(cudaDeviceSynchronize());
  cudaStream_t other;
  CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  int seen = 0;
  CHECK(cudaMemcpyAsync(&seen, d, sizeof seen, cudaMemcpyDeviceToHost, other));
  CHECK(cudaStreamSynchronize(other));
  EXPECT(seen == 14);
  CHECK(cudaStreamDestroy(other));
  return verdict();
}
