// flags: -arch=compute_120a -code=compute_120a
// Floats of 16, 8, 6 and 4 bits: the device's conversions against those of the headers on the host,
// for every half and for what lies between two of them.
#include "sample.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>

enum { HALVES = 65536, KINDS = 22 };

template <class T> __host__ __device__ uint32_t bits(T value) {
  uint32_t word = 0;
  memcpy(&word, &value, sizeof value);
  return word;
}

__host__ __device__ uint32_t convert(int kind, float f) {
  double d = f * (1 + 1e-12);
  long long n = (long long)(f * 1234567);
  switch (kind) {
  case 0: return bits(__float2half_rd(f));
  case 1: return bits(__float2half_ru(f));
  case 2: return bits(__float2half_rz(f));
  case 3: return bits(__double2half(d));
  case 4: return bits(__ll2half_ru(n));
  case 5: return bits(__int2half_rz((int)n));
  case 6: return bits(__uint2half_rd((unsigned)n));
  case 7: return bits(__double2bfloat16(d));
  case 8: return bits(__float2bfloat16_ru(f));
  case 9: return bits(__ll2bfloat16_rn(n));
  case 10: return bits(__double2bfloat16(-d));
  case 11: return bits(__float2bfloat16_rz(f));
  case 12: return bits(__nv_fp8_e4m3(f));
  case 13: return bits(__nv_fp8_e5m2(f));
  case 14: return bits(__nv_fp8_e8m0(f));
  case 15: return bits(__nv_fp6_e2m3(f));
  case 16: return bits(__nv_fp6_e3m2(f));
  case 17: return bits(__nv_fp4_e2m1(f));
  case 18: return bits(__nv_fp8x2_e4m3(make_float2(f, -2 * f)));
  case 19: return bits(float(__nv_fp8_e4m3(f)));
  case 20: return bits(float(__nv_fp8_e5m2(f)));
  default: return bits(float(__nv_fp4_e2m1(f)));
  }
}

__global__ void all(const float *values, uint32_t *codes) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int kind = 0; kind < KINDS; kind++) codes[kind * HALVES + i] = convert(kind, values[i]);
}

int main() {
  std::vector<float> values(HALVES);
  for (int i = 0; i < HALVES; i++) {
    __half_raw raw;
    raw.x = (unsigned short)i;
    float f = __half2float(__half(raw));
    if (std::isfinite(f)) f += i % 3 ? 0 : f * 1e-4f;
    values[i] = f;
  }
  uint32_t *codes = zeros_on_device<uint32_t>(KINDS * HALVES);
  all<<<HALVES / 256, 256>>>(to_device(values), codes);
  auto got = to_host(codes, KINDS * HALVES);
  for (int kind = 0; kind < KINDS; kind++)
    for (int i = 0; i < HALVES; i++) {
      bool whole = kind >= 4 && kind <= 9 && kind != 7 && kind != 8; // by way of an integer
      if (std::isnan(values[i]) || (whole && !(std::fabs(values[i]) < 1000))) continue;
      uint32_t want = convert(kind, values[i]);
      if (got[kind * HALVES + i] == want) continue;
      std::printf("kind %d, %.9g: %x, not %x\n", kind, values[i], got[kind * HALVES + i], want);
      EXPECT(got[kind * HALVES + i] == want);
      break;
    }
  return verdict();
}
