// Monte Carlo: pi from random points, an integral, an option price; a generator for each thread.
#include "sample.h"

struct Philox { // counter-based, 10 rounds: key and counter give four words
  uint2 key;
  __host__ __device__ static unsigned high(unsigned a, unsigned b) {
#ifdef __CUDA_ARCH__
    return __umulhi(a, b);
#else
    return (unsigned)((uint64_t)a * b >> 32);
#endif
  }
  __host__ __device__ uint4 operator()(uint4 c) const {
    uint2 k = key;
    for (int i = 0; i < 10; i++) {
      unsigned h0 = high(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x;
      unsigned h1 = high(0xCD9E8D57u, c.z), l1 = 0xCD9E8D57u * c.z;
      c = make_uint4(h1 ^ c.y ^ k.x, l1, h0 ^ c.w ^ k.y, l0);
      k.x += 0x9E3779B9u, k.y += 0xBB67AE85u;
    }
    return c;
  }
};

__host__ __device__ inline float unit(unsigned x) { return (x >> 8) * (1.0f / 16777216.0f); }

__global__ void pi(Philox random, int rounds, unsigned long long *inside) {
  unsigned me = blockIdx.x * blockDim.x + threadIdx.x, count = 0;
  for (int i = 0; i < rounds; i++) {
    uint4 w = random(make_uint4(me, i, 0, 0));
    float x = unit(w.x), y = unit(w.y), z = unit(w.z), t = unit(w.w);
    count += (x * x + y * y < 1.0f) + (z * z + t * t < 1.0f);
  }
  for (int k = 16; k; k /= 2) count += __shfl_down_sync(~0u, count, k);
  if (threadIdx.x % 32 == 0) atomicAdd(inside, (unsigned long long)count);
}

__global__ void option(Philox random, int rounds, float spot, float strike, float rate,
                       float volatility, double *sum) {
  unsigned me = blockIdx.x * blockDim.x + threadIdx.x;
  double mine = 0;
  for (int i = 0; i < rounds; i++) {
    uint4 w = random(make_uint4(me, i, 1, 0));
    float radius = sqrtf(-2.0f * logf(1.0f - unit(w.x))), s, c;
    sincospif(2.0f * unit(w.y), &s, &c);
    float drift = rate - 0.5f * volatility * volatility;
    mine += fmaxf(spot * expf(drift + volatility * radius * s) - strike, 0.0f);
    mine += fmaxf(spot * expf(drift + volatility * radius * c) - strike, 0.0f);
  }
  atomicAdd(sum, mine);
}

__global__ void words(Philox random, uint4 *out) {
  out[threadIdx.x] = random(make_uint4(threadIdx.x, 1, 2, 3));
}

int main() {
  Philox random{{12345u, 67890u}};
  uint4 *dw = zeros_on_device<uint4>(64);
  words<<<1, 64>>>(random, dw);
  auto w = to_host(dw, 64);
  for (unsigned i = 0; i < 64; i++) {
    uint4 h = random(make_uint4(i, 1, 2, 3));
    EXPECT(memcmp(&h, &w[i], sizeof h) == 0);
  }

  const int blocks = 32, threads = 128, rounds = 200;
  auto *inside = zeros_on_device<unsigned long long>(1);
  pi<<<blocks, threads>>>(random, rounds, inside);
  unsigned long long want = 0, got = to_host(inside, 1)[0];
  double estimate = 4.0 * got / (2.0 * blocks * threads * rounds);
  std::printf("pi is about %.4f\n", estimate);
  EXPECT(std::fabs(estimate - 3.14159265) < 0.01);
  for (unsigned me = 0; me < blocks * threads; me++)
    for (unsigned i = 0; i < rounds; i++) {
      uint4 v = random(make_uint4(me, i, 0, 0));
      float x = unit(v.x), y = unit(v.y), z = unit(v.z), t = unit(v.w);
      want += (x * x + y * y < 1.0f) + (z * z + t * t < 1.0f);
    }
  EXPECT(std::llabs((long long)(got - want)) <=
         4); // fused sums may fall on either side of the circle

  const float spot = 100, strike = 105, rate = 0.03f, volatility = 0.2f;
  double *sum = zeros_on_device<double>(1);
  option<<<blocks, threads>>>(random, rounds / 4, spot, strike, rate, volatility, sum);
  double price = to_host(sum, 1)[0] * std::exp(-rate) / (2.0 * blocks * threads * (rounds / 4));
  double d1 = (std::log(spot / strike) + rate + volatility * volatility / 2) / volatility;
  auto normal = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  double exact = spot * normal(d1) - strike * std::exp(-rate) * normal(d1 - volatility);
  std::printf("option: %.3f, by formula %.3f\n", price, exact);
  EXPECT(close(price, exact, 0.02));
  return verdict();
}
