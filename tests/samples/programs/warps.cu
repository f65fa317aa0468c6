// flags: -arch=compute_80
// Warp operations: votes, ballots, matches, shuffles of all types, active masks in divergent code,
// reductions.
#include "sample.h"

__global__ void votes(const int *in, unsigned *out) {
  int v = in[threadIdx.x];
  unsigned *mine = out + threadIdx.x * 4;
  mine[0] = __ballot_sync(~0u, v & 1);
  mine[1] = __any_sync(~0u, v == 3) | __all_sync(~0u, v < 100) << 1;
  mine[2] = __match_any_sync(~0u, v % 5);
  int all;
  mine[3] = __match_all_sync(~0u, threadIdx.x / 32, &all) + all;
}

// Lanes that diverge vote among themselves.
__global__ void partial(unsigned *out) {
  unsigned lane = threadIdx.x % 32, got;
  if (lane < 12)
    got = __ballot_sync(0xfffu, lane % 3 == 0);
  else if (lane < 20)
    got = __reduce_add_sync(0xff000u, lane);
  else
    got = __shfl_sync(0xfff00000u, lane * 10, 20 + (lane - 20 + 1) % 12);
  out[threadIdx.x] = got;
}

__global__ void reduce(const int *in, int *out) {
  int v = in[threadIdx.x];
  out[threadIdx.x * 5] = __reduce_add_sync(~0u, v);
  out[threadIdx.x * 5 + 1] = __reduce_min_sync(~0u, v);
  out[threadIdx.x * 5 + 2] = __reduce_max_sync(~0u, v - 200);
  out[threadIdx.x * 5 + 3] = __reduce_or_sync(~0u, (unsigned)v);
  out[threadIdx.x * 5 + 4] = __reduce_xor_sync(~0u, (unsigned)v);
}

template <class T> __global__ void shuffle(const T *in, T *out) {
  T v = in[threadIdx.x];
  out[threadIdx.x] = __shfl_sync(~0u, v, threadIdx.x + 5);
  out[threadIdx.x + 64] = __shfl_up_sync(~0u, v, 3);
  out[threadIdx.x + 128] = __shfl_down_sync(~0u, v, 2, 16);
  out[threadIdx.x + 192] = __shfl_xor_sync(~0u, v, 9);
}

template <class T> static void check_shuffle() {
  std::vector<T> v(64);
  for (int i = 0; i < 64; i++) v[i] = T(i * 1234567.0 + 0.5);
  T *out = zeros_on_device<T>(256);
  shuffle<<<1, 64>>>(to_device(v), out);
  auto got = to_host(out, 256);
  for (int i = 0; i < 64; i++) {
    int lane = i % 32, warp = i - lane;
    EXPECT(got[i] == v[warp + (lane + 5) % 32]);
    EXPECT(got[i + 64] == v[lane < 3 ? i : i - 3]);
    EXPECT(got[i + 128] == v[lane % 16 < 14 ? i + 2 : i]);
    EXPECT(got[i + 192] == v[i ^ 9]);
  }
}

// A loop whose length differs by lane, with a barrier of the warp after it.
__global__ void ragged(int *out) {
  __shared__ volatile int s[64];
  int lane = threadIdx.x % 32, steps = 0;
  for (int x = lane * 7 + 1; x != 1; steps++) x = x % 2 ? 3 * x + 1 : x / 2;
  s[threadIdx.x] = steps;
  __syncwarp();
  out[threadIdx.x] = s[threadIdx.x ^ 1] * 1000 + __popc(__activemask());
}

int main() {
  std::vector<int> v(64);
  Random random;
  for (auto &x : v) x = random.below(100);
  int *in = to_device(v), *numbers = zeros_on_device<int>(320);
  unsigned *words = zeros_on_device<unsigned>(256);
  votes<<<1, 64>>>(in, words);
  auto w = to_host(words, 256);
  reduce<<<1, 64>>>(in, numbers);
  auto r = to_host(numbers, 320);
  for (int i = 0; i < 64; i++) {
    unsigned odd = 0, same = 0, any = 0, bits = 0, parity = 0;
    int sum = 0, least = 1000, most = -1000;
    for (int j = 0; j < 32; j++) {
      int x = v[i / 32 * 32 + j];
      odd |= (x & 1u) << j, same |= (unsigned)(x % 5 == v[i] % 5) << j, any |= x == 3;
      sum += x, least = std::min(least, x), most = std::max(most, x - 200), bits |= x, parity ^= x;
    }
    EXPECT(w[i * 4] == odd && w[i * 4 + 1] == (any | 2) && w[i * 4 + 2] == same &&
           w[i * 4 + 3] == 0);
    EXPECT(r[i * 5] == sum && r[i * 5 + 1] == least && r[i * 5 + 2] == most);
    EXPECT(r[i * 5 + 3] == (int)bits && r[i * 5 + 4] == (int)parity);
  }
  partial<<<1, 64>>>(words);
  w = to_host(words, 64);
  for (int i = 0; i < 64; i++) {
    unsigned lane = i % 32, next = 20 + (lane - 20 + 1) % 12;
    EXPECT(w[i] == (lane < 12 ? 0x249u : lane < 20 ? 124u : next * 10));
  }
  check_shuffle<int>();
  check_shuffle<float>();
  check_shuffle<double>();
  check_shuffle<unsigned long long>();
  ragged<<<1, 64>>>(numbers);
  r = to_host(numbers, 64);
  for (int i = 0; i < 64; i++) {
    int steps = 0;
    for (int x = (i % 32 ^ 1) * 7 + 1; x != 1; steps++) x = x % 2 ? 3 * x + 1 : x / 2;
    EXPECT(r[i] / 1000 == steps);
  }
  return verdict();
}
