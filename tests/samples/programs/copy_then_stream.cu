// cudaMemcpy from ordinary memory, then a kernel in a stream that does not wait for the default
// stream: what programs everywhere do, since the copy has returned.
#include "sample.h"

__global__ void sum(const unsigned *x, int n, unsigned *out) {
  unsigned mine = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) mine += x[i];
  atomicAdd(out, mine);
}

// Keeps the default stream busy for a while.
__global__ void linger(long long ticks) {
  for (long long start = clock64(); clock64() - start < ticks;) {
  }
}

int main() {
  const int n = 5000, rounds = 20;
  cudaStream_t s;
  CHECK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  unsigned *d = zeros_on_device<unsigned>(n), *out = zeros_on_device<unsigned>(rounds);
  CHECK(cudaDeviceSynchronize());
  std::vector<unsigned> want(rounds);
  for (int round = 0; round < rounds; round++) {
    auto x = random_words(n, round);
    for (unsigned v : x) want[round] += v;
    linger<<<1, 1>>>(5000000);
    CHECK(cudaMemcpy(d, x.data(), n * sizeof(unsigned), cudaMemcpyHostToDevice));
    sum<<<1, 256, 0, s>>>(d, n, out + round);
    CHECK(cudaStreamSynchronize(s));
  }
  EXPECT(to_host(out, rounds) == want);
  return verdict();
}
