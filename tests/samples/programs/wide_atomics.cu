// flags: -arch=compute_90
// Atomics of other widths than a word: pairs and quadruples of floats, halves, 16 and 128 bits;
// threads of both blocks meet in the same places.
#include "sample.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

struct Totals {
  ulonglong2 pair;
  float4 four;
  float2 two;
  __half2 halves;
  __nv_bfloat162 brains;
  __half half;
  unsigned short small;
};

__device__ void count_pair(ulonglong2 *at) { // both words change together or not at all
  ulonglong2 seen, now = *at;
  do {
    seen = now;
    now = atomicCAS(at, seen, ulonglong2{seen.x + 1, seen.y + 3});
  } while (now.x != seen.x || now.y != seen.y);
}

__device__ void count_small(unsigned short *at) {
  unsigned short seen, now = *at;
  do {
    seen = now;
    now = atomicCAS(at, seen, (unsigned short)(seen + 1));
  } while (now != seen);
}

__global__ void add(Totals *t) {
  count_pair(&t->pair);
  atomicAdd(&t->four, float4{1, 2, 3, 4});
  atomicAdd(&t->two, float2{0.5f, -1});
  atomicAdd(&t->halves, __floats2half2_rn(1, 2));
  atomicAdd(&t->brains, __floats2bfloat162_rn(1, 0.5f));
  atomicAdd(&t->half, __float2half(0.5f));
  count_small(&t->small);
}

// Tickets are taken from hand to hand: each is seen by one thread, and one is left.
__global__ void exchange(ulonglong2 *at, int *seen) {
  unsigned long long own = blockIdx.x * blockDim.x + threadIdx.x + 1;
  ulonglong2 before = atomicExch(at, ulonglong2{own, ~own});
  bool whole = before.y == ~before.x || (before.x == 0 && before.y == 0);
  atomicAdd(&seen[whole ? before.x : 0], 1);
}

int main() {
  const int blocks = 4, threads = 64, all = blocks * threads;
  Totals *totals = zeros_on_device<Totals>(1);
  add<<<blocks, threads>>>(totals);
  Totals t = to_host(totals, 1)[0];
  EXPECT(t.pair.x == all && t.pair.y == 3 * all);
  EXPECT(t.four.x == all && t.four.y == 2 * all && t.four.z == 3 * all && t.four.w == 4 * all);
  EXPECT(t.two.x == all / 2 && t.two.y == -all);
  EXPECT(__low2float(t.halves) == all && __high2float(t.halves) == 2 * all);
  EXPECT(__low2float(t.brains) == all && __high2float(t.brains) == all / 2);
  EXPECT(__half2float(t.half) == all / 2);
  EXPECT(t.small == all);
  ulonglong2 *at = zeros_on_device<ulonglong2>(1);
  int *seen = zeros_on_device<int>(all + 1);
  exchange<<<blocks, threads>>>(at, seen);
  auto s = to_host(seen, all + 1);
  unsigned long long last = to_host(at, 1)[0].x;
  for (int i = 0; i <= all; i++) EXPECT(s[i] == ((unsigned long long)i != last));
  return verdict();
}
