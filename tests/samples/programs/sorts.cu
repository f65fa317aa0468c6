// Sorting: bitonic (in shared memory, then across blocks), odd-even transposition, and a radix sort
// with ballots for the ranks.
#include "sample.h"
#include <algorithm>

__device__ void order(unsigned &a, unsigned &b, bool up) {
  if ((a > b) == up) {
    unsigned c = a;
    a = b, b = c;
  }
}

__global__ void bitonic_step(unsigned *v, unsigned j, unsigned k) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x, other = i ^ j;
  if (other > i) order(v[i], v[other], (i & k) == 0);
}

__global__ void bitonic_block(unsigned *v) { // 512 words in each block, all blocks upwards
  __shared__ unsigned s[512];
  unsigned *mine = v + blockIdx.x * 512, t = threadIdx.x;
  s[t] = mine[t], s[t + 256] = mine[t + 256];
  for (unsigned k = 2; k <= 512; k *= 2)
    for (unsigned j = k / 2; j; j /= 2) {
      __syncthreads();
      unsigned i = 2 * t - (t & (j - 1));
      order(s[i], s[i + j], (i & k) == 0);
    }
  __syncthreads();
  mine[t] = s[t], mine[t + 256] = s[t + 256];
}

__global__ void odd_even(unsigned *v, int n) {
  for (int round = 0; round < n; round++) {
    int i = 2 * threadIdx.x + (round & 1);
    if (i + 1 < n) order(v[i], v[i + 1], true);
    __syncthreads();
  }
}

// One bit a pass, stable: zeros first. One block.
__global__ void radix(unsigned *v, unsigned *spare, int n) {
  __shared__ unsigned of_warp[32], zeros, done;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int bit = 0; bit < 32; bit++) {
    if (threadIdx.x == 0) zeros = 0, done = 0;
    __syncthreads();
    unsigned count = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) count += !(v[i] >> bit & 1);
    atomicAdd(&zeros, count);
    __syncthreads();
    for (int first = 0; first < n; first += blockDim.x) {
      int i = first + threadIdx.x;
      bool in = i < n, zero = in && !(v[i] >> bit & 1);
      unsigned votes = __ballot_sync(~0u, zero);
      if (lane == 0) of_warp[warp] = __popc(votes);
      __syncthreads();
      unsigned rank = done + __popc(votes & ((1u << lane) - 1));
      for (int w = 0; w < warp; w++) rank += of_warp[w];
      if (in) spare[zero ? rank : zeros + i - rank] = v[i];
      __syncthreads();
      if (threadIdx.x == 0)
        for (int w = 0; w < warps; w++) done += of_warp[w];
      __syncthreads();
    }
    unsigned *swap = v;
    v = spare, spare = swap;
    __syncthreads();
  }
}

int main() {
  const unsigned n = 1 << 14;
  auto v = random_words(n), sorted = v;
  std::sort(sorted.begin(), sorted.end());
  unsigned *d = to_device(v);
  for (unsigned k = 2; k <= n; k *= 2)
    for (unsigned j = k / 2; j; j /= 2) bitonic_step<<<n / 256, 256>>>(d, j, k);
  EXPECT(to_host(d, n) == sorted);

  d = to_device(v);
  bitonic_block<<<n / 512, 256>>>(d);
  auto parts = v;
  for (unsigned i = 0; i < n; i += 512) std::sort(parts.begin() + i, parts.begin() + i + 512);
  EXPECT(to_host(d, n) == parts);

  for (int few : {2, 101, 512}) {
    std::vector<unsigned> w(v.begin(), v.begin() + few);
    d = to_device(w);
    odd_even<<<1, 256>>>(d, few);
    std::sort(w.begin(), w.end());
    EXPECT(to_host(d, few) == w);
  }

  const int some = 3001;
  std::vector<unsigned> w(v.begin(), v.begin() + some);
  d = to_device(w);
  radix<<<1, 256>>>(d, zeros_on_device<unsigned>(some), some);
  std::sort(w.begin(), w.end());
  EXPECT(to_host(d, some) == w);
  return verdict();
}
