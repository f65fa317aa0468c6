// Atomic operations: all kinds and widths, loops of compare-and-swap, locks, results that are
// unique.
#include "sample.h"
#include <cuda_fp16.h>
#include <set>

__device__ float max_by_cas(float *at, float v) {
  int *word = (int *)at, old = *word, seen;
  do {
    seen = old;
    if (__int_as_float(seen) >= v) break;
    old = atomicCAS(word, seen, __float_as_int(v));
  } while (old != seen);
  return __int_as_float(old);
}

struct Results {
  int add, sub, least, most, exchanged;
  unsigned inc, dec, umin, umax, all, any, odd;
  unsigned long long add64, max64, min64, and64, or64, xor64;
  long long smax64;
  float real, highest;
  double real64;
  int locked, lock, unlucky;
};

__global__ void everything(Results *r) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long wide = (unsigned long long)i << 33;
  atomicAdd(&r->add, i), atomicSub(&r->sub, 2 * i);
  atomicMin(&r->least, 500 - i), atomicMax(&r->most, i - 7);
  atomicMin(&r->umin, 0xf0000000u - i), atomicMax(&r->umax, 0xf0000000u + i);
  atomicInc(&r->inc, 99), atomicDec(&r->dec, 99);
  atomicAnd(&r->all, ~(1u << i % 5)), atomicOr(&r->any, 1u << i % 7), atomicXor(&r->odd, i);
  atomicAdd(&r->add64, wide), atomicMax(&r->max64, wide), atomicMin(&r->min64, ~wide);
  atomicAnd(&r->and64, ~(1ull << (32 + i % 4))), atomicOr(&r->or64, 1ull << (40 + i % 4));
  atomicXor(&r->xor64, wide), atomicMax(&r->smax64, (long long)i - 100000);
  atomicAdd(&r->real, 0.5f), atomicAdd(&r->real64, 0.25), max_by_cas(&r->highest, i * 0.5f);
  atomicExch(&r->exchanged, i);
}

__global__ void spin(Results *r) { // a lock taken by one thread of each block
  if (threadIdx.x) return;
  while (atomicCAS(&r->lock, 0, 1)) {
  }
  __threadfence();
  volatile int *v = &r->locked;
  *v = *v + 1;
  __threadfence();
  atomicExch(&r->lock, 0);
}

__global__ void tickets(int *counter, int *taken) {
  __shared__ int of_block;
  if (threadIdx.x == 0) of_block = 0;
  __syncthreads();
  int mine = atomicAdd_block(&of_block, 1), one = atomicAdd_system(counter, 1);
  taken[one] = mine + 1000 * blockIdx.x;
}

__global__ void pairs(__half2 *sum, unsigned short *words) {
  atomicAdd(sum, __floats2half2_rn(1.0f, 0.5f));
  unsigned short old = *words, seen;
  do seen = old, old = atomicCAS(words, seen, (unsigned short)(seen + 3));
  while (old != seen);
}

int main() {
  const int blocks = 20, threads = 64, n = blocks * threads;
  Results r = {};
  r.all = r.umin = ~0u, r.and64 = r.min64 = ~0ull, r.smax64 = -1ll << 40, r.highest = -1;
  Results *d = to_device(std::vector<Results>{r});
  everything<<<blocks, threads>>>(d);
  spin<<<blocks, threads>>>(d);
  r = to_host(d, 1)[0];
  unsigned long long total = 0, odd = 0;
  for (int i = 0; i < n; i++) total += i, odd ^= i;
  EXPECT(r.add == (int)total && r.sub == -2 * (int)total);
  EXPECT(r.least == 501 - n && r.most == n - 8);
  EXPECT(r.umin == 0xf0000000u - n + 1 && r.umax == 0xf0000000u + n - 1);
  EXPECT(r.inc == n % 100 && r.dec == (100 - n % 100) % 100);
  EXPECT(r.all == ~31u && r.any == 127 && r.odd == odd);
  EXPECT(r.add64 == total << 33 && r.max64 == (n - 1ull) << 33 && r.min64 == ~((n - 1ull) << 33));
  EXPECT(r.and64 == ~(15ull << 32) && r.or64 == 15ull << 40 && r.xor64 == odd << 33);
  EXPECT(r.smax64 == n - 1 - 100000);
  EXPECT(r.real == n / 2.0f && r.real64 == n / 4.0 && r.highest == (n - 1) * 0.5f);
  EXPECT(r.exchanged >= 0 && r.exchanged < n);
  EXPECT(r.locked == blocks && r.lock == 0);

  int *counter = zeros_on_device<int>(1), *taken = zeros_on_device<int>(n);
  tickets<<<blocks, threads>>>(counter, taken);
  auto t = to_host(taken, n);
  EXPECT(std::set<int>(t.begin(), t.end()).size() == n && to_host(counter, 1)[0] == n);

  __half2 *sum = zeros_on_device<__half2>(1);
  unsigned short *words = zeros_on_device<unsigned short>(2);
  pairs<<<blocks, threads>>>(sum, words);
  float2 s = __half22float2(to_host(sum, 1)[0]);
  EXPECT(s.x == n && s.y == n / 2.0f);
  EXPECT(to_host(words, 2)[0] == (unsigned short)(3 * n) && to_host(words, 2)[1] == 0);
  return verdict();
}
