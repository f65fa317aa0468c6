// The fast Fourier transform, radix 2: one block in shared memory, then any power of two with a
// kernel for each stage; against the definition, and back again.
#include "sample.h"
#include <complex>

typedef std::complex<double> Complex;

__device__ float2 multiply(float2 a, float2 b) {
  return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

__device__ void butterfly(float2 &a, float2 &b, float angle) {
  float2 w;
  sincospif(angle, &w.y, &w.x);
  float2 t = multiply(b, w), s = a;
  a = make_float2(s.x + t.x, s.y + t.y), b = make_float2(s.x - t.x, s.y - t.y);
}

__global__ void in_block(const float2 *in, float2 *out, int bits) {
  extern __shared__ float2 line[];
  unsigned n = 1u << bits, t = threadIdx.x;
  in += blockIdx.x * n, out += blockIdx.x * n;
  for (unsigned i = t; i < n; i += blockDim.x) line[__brev(i) >> (32 - bits)] = in[i];
  for (unsigned half = 1; half < n; half *= 2) {
    __syncthreads();
    unsigned k = t % half, i = t / half * 2 * half + k;
    butterfly(line[i], line[i + half], -(float)k / half);
  }
  __syncthreads();
  for (unsigned i = t; i < n; i += blockDim.x) out[i] = line[i];
}

__global__ void reverse(const float2 *in, float2 *out, int bits) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[__brev(i) >> (32 - bits)] = in[i];
}

__global__ void stage(float2 *x, unsigned half, float sign) {
  unsigned t = blockIdx.x * blockDim.x + threadIdx.x, k = t % half, i = t / half * 2 * half + k;
  butterfly(x[i], x[i + half], sign * k / half);
}

static float2 *transform(const float2 *in, int bits, float sign) {
  float2 *x = zeros_on_device<float2>(1 << bits);
  reverse<<<(1 << bits) / 64, 64>>>(in, x, bits);
  for (unsigned half = 1; half < 1u << bits; half *= 2)
    stage<<<(1 << bits) / 128, 64>>>(x, half, sign);
  return x;
}

static Complex term(const std::vector<float2> &x, size_t first, size_t n, size_t k) {
  Complex sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += Complex(x[first + i].x, x[first + i].y) *
           std::polar(1.0, -2 * M_PI * (double)(i * k % n) / n);
  return sum;
}

int main() {
  const int small = 8, large = 12, lines = 4;
  std::vector<float2> x(1 << large);
  Random random;
  for (auto &v : x) v = make_float2(random.real() - 0.5f, random.real() - 0.5f);
  float2 *d = to_device(x), *out = zeros_on_device<float2>(x.size());
  in_block<<<lines, 128, 256 * sizeof(float2)>>>(d, out, small);
  auto y = to_host(out, x.size());
  for (int l = 0; l < lines; l++)
    for (int k = 0; k < 256; k += 5) {
      Complex want = term(x, l * 256, 256, k), got(y[l * 256 + k].x, y[l * 256 + k].y);
      EXPECT(std::abs(got - want) < 1e-4);
    }

  float2 *spectrum = transform(d, large, -1);
  auto s = to_host(spectrum, x.size());
  for (int k = 0; k < 1 << large; k += 127)
    EXPECT(std::abs(term(x, 0, x.size(), k) - Complex(s[k].x, s[k].y)) < 1e-3);
  auto back = to_host(transform(spectrum, large, 1), x.size());
  for (size_t i = 0; i < x.size(); i++)
    EXPECT(std::hypot(back[i].x / x.size() - x[i].x, back[i].y / x.size() - x[i].y) < 1e-5);
  return verdict();
}
