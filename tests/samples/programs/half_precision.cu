// flags: -arch=compute_90
// Half precision and bfloat16: conversions with rounding, arithmetic one and two at a time,
// comparisons, a dot product, special values.
#include "sample.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// The nearest number with so many bits of mantissa, ties to even; exponents as in half precision.
static double rounded(double x, int bits, int least) {
  if (x == 0 || !std::isfinite(x)) return x;
  int e;
  std::frexp(x, &e);
  double unit = std::ldexp(1.0, std::max(e - 1, least) - bits);
  return std::nearbyint(x / unit) * unit;
}
static double to_half(double x) {
  double r = rounded(x, 10, -14);
  return std::fabs(r) > 65504 ? std::copysign(INFINITY, x) : r;
}
static double to_bfloat(double x) { return rounded(x, 7, -126); }

template <class T> struct Convert;
template <> struct Convert<__half> {
  static __device__ __half from(float x) { return __float2half_rn(x); }
  static __device__ float to(__half x) { return __half2float(x); }
  static double round(double x) { return to_half(x); }
};
template <> struct Convert<__nv_bfloat16> {
  static __device__ __nv_bfloat16 from(float x) { return __float2bfloat16_rn(x); }
  static __device__ float to(__nv_bfloat16 x) { return __bfloat162float(x); }
  static double round(double x) { return to_bfloat(x); }
};

template <class T> __global__ void arithmetic(const float *a, const float *b, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  T x = Convert<T>::from(a[i]), y = Convert<T>::from(b[i]);
  float *o = out + i * 8;
  o[0] = Convert<T>::to(x), o[1] = Convert<T>::to(x + y), o[2] = Convert<T>::to(x - y);
  o[3] = Convert<T>::to(x * y), o[4] = Convert<T>::to(__hfma(x, y, x));
  o[5] = (x < y) + 2 * (x == y) + 4 * __hge(x, y), o[6] = Convert<T>::to(__hmax(x, y));
  o[7] = Convert<T>::to(-x);
}

template <class T> static void check(float scale) {
  const int n = 3000;
  auto a = random_reals(n, 1), b = random_reals(n, 2);
  for (int i = 0; i < n; i++)
    a[i] = (a[i] - 0.5f) * scale, b[i] = i % 50 ? (b[i] - 0.5f) * 3 : a[i];
  float *out = zeros_on_device<float>(8 * n);
  arithmetic<T><<<(n + 127) / 128, 128>>>(to_device(a), to_device(b), out, n);
  auto got = to_host(out, 8 * n);
  int wrong[8] = {};
  for (int i = 0; i < n; i++) {
    auto round = Convert<T>::round;
    double x = round(a[i]), y = round(b[i]);
    double want[8] = {x,
                      round(x + y),
                      round(x - y),
                      round(x * y),
                      round(std::fma(x, y, x)),
                      (x < y) + 2.0 * (x == y) + 4 * (x >= y),
                      std::max(x, y),
                      -x};
    for (int k = 0; k < 8; k++) wrong[k] += got[i * 8 + k] != (float)want[k];
  }
  for (int k = 0; k < 8; k++)
    if (!EXPECT(wrong[k] == 0))
      std::printf("operation %d, scale %g: %d wrong\n", k, scale, wrong[k]);
}

__global__ void dot(const __half2 *a, const __half2 *b, int n, float *out) {
  __half2 sum = __float2half2_rn(0.0f);
  for (int i = threadIdx.x; i < n; i += 32) sum = __hfma2(a[i], b[i], sum);
  for (int k = 16; k; k /= 2) sum = __hadd2(sum, __shfl_xor_sync(~0u, sum, k));
  if (threadIdx.x == 0) *out = __low2float(sum) + __high2float(sum);
}

__global__ void special(float *out) {
  __half large = __float2half(60000.0f), tiny = __ushort_as_half(1);
  out[0] = __half2float(large + large), out[1] = __half2float(tiny),
  out[2] = __half2float(hsqrt(large));
  out[3] = __hisnan(large / large - large / large + __float2half(NAN));
  out[4] = __half2float(hexp(__float2half(1.0f))), out[5] = __half2float(__int2half_rn(2049));
  out[6] = __half2int_rz(__float2half(-3.75f)),
  out[7] = __half2float(__hdiv(__float2half(1), __float2half(3)));
  __half2 both = __floats2half2_rn(1.5f, -2.5f);
  out[8] = __low2float(__habs2(both)) * 10 + __high2float(__hneg2(__lowhigh2highlow(both)));
  out[9] = __bfloat162float(__float2bfloat16(3.0e38f)) > 2.9e38f;
}

int main() {
  for (float scale : {1e-6f, 4.0f, 1e5f}) check<__half>(scale);
  for (float scale : {1e-30f, 4.0f, 1e30f}) check<__nv_bfloat16>(scale);
  const int n = 256;
  std::vector<__half2> a(n), b(n);
  float want = 0;
  for (int i = 0; i < n; i++) {
    a[i] = __floats2half2_rn(i % 4, i % 3), b[i] = __floats2half2_rn(i % 2, 0.5f);
    want += (i % 4) * (i % 2) + (i % 3) * 0.5f;
  }
  float *out = zeros_on_device<float>(10);
  dot<<<1, 32>>>(to_device(a), to_device(b), n, out);
  EXPECT(to_host(out, 1)[0] == want);
  special<<<1, 1>>>(out);
  auto s = to_host(out, 10);
  EXPECT(std::isinf(s[0]) && s[1] == std::ldexp(1.0f, -24) &&
         s[2] == (float)to_half(std::sqrt(59968.0 + 32)));
  EXPECT(s[3] == 1 && close(s[4], 2.71828, 1e-3) && s[5] == 2048 && s[6] == -3);
  EXPECT(s[7] == (float)to_half(1.0 / 3) && s[8] == 15 - 1.5f && s[9] == 1);
  return verdict();
}
