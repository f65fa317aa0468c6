// flags: -arch=compute_120a -code=compute_120a
// Products of small matrices by a whole warp, in inline PTX: every type, against sums on the host.
// A is 16 x K (or 8 x K) in rows, B is K x 8 in columns; each lane holds its fragments in
// registers.
#include "sample.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

// Where element i of a lane lies, for elements of which `per` fill a register.
__host__ __device__ int row_of_a(int lane, int i, int per) { return lane / 4 + 8 * (i / per % 2); }
__host__ __device__ int column_of_a(int lane, int i, int per) {
  return (lane % 4 + 4 * (i / per / 2)) * per + i % per;
}
__host__ __device__ int row_of_b(int lane, int i, int per) {
  return (lane % 4 + 4 * (i / per)) * per + i % per;
}

#define MMA_4_4_2_4(name)                                                                          \
  asm("mma.sync.aligned." name " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"            \
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                                             \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define MMA_4_2_1_4(name)                                                                          \
  asm("mma.sync.aligned." name " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"                     \
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                                             \
      : "r"(a[0]), "r"(a[1]), "r"(b[0]))

enum Kind {
  HALF,
  HALF8,
  BFLOAT,
  BFLOAT8,
  TF32,
  TF32_4,
  INT8,
  INT8_16,
  INT8_CUT,
  MIXED,
  FP8,
  HALVES,
  KINDS
};

__global__ void multiply(int kind, const unsigned *as, const unsigned *bs, unsigned *ds) {
  int lane = threadIdx.x;
  unsigned a[4], b[2], d[4];
  for (int i = 0; i < 4; i++) a[i] = as[lane * 4 + i], d[i] = ds[lane * 4 + i];
  for (int i = 0; i < 2; i++) b[i] = bs[lane * 2 + i];
  switch (kind) {
  case HALF: MMA_4_4_2_4("m16n8k16.row.col.f32.f16.f16.f32"); break;
  case HALF8: MMA_4_2_1_4("m16n8k8.row.col.f32.f16.f16.f32"); break;
  case BFLOAT: MMA_4_4_2_4("m16n8k16.row.col.f32.bf16.bf16.f32"); break;
  case BFLOAT8: MMA_4_2_1_4("m16n8k8.row.col.f32.bf16.bf16.f32"); break;
  case TF32: MMA_4_4_2_4("m16n8k8.row.col.f32.tf32.tf32.f32"); break;
  case TF32_4: MMA_4_2_1_4("m16n8k4.row.col.f32.tf32.tf32.f32"); break;
  case INT8: MMA_4_4_2_4("m16n8k32.row.col.s32.s8.s8.s32"); break;
  case INT8_16: MMA_4_2_1_4("m16n8k16.row.col.s32.s8.s8.s32"); break;
  case INT8_CUT: MMA_4_4_2_4("m16n8k32.row.col.satfinite.s32.s8.s8.s32"); break;
  case MIXED: MMA_4_4_2_4("m16n8k32.row.col.s32.u8.s8.s32"); break;
  case FP8: MMA_4_4_2_4("m16n8k32.row.col.f32.e4m3.e5m2.f32"); break;
  case HALVES:
    asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, "
        "{%0,%1};"
        : "+r"(d[0]), "+r"(d[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  for (int i = 0; i < 4; i++) ds[lane * 4 + i] = d[i];
}

struct Type {
  int per; // elements in a register
  float (*value)(unsigned bits);
};

static float half_value(unsigned bits) {
  return __half2float(__ushort_as_half((unsigned short)bits));
}
static float bfloat_value(unsigned bits) {
  return __bfloat162float(__ushort_as_bfloat16((unsigned short)bits));
}
static float tf32_value(unsigned bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static float s8_value(unsigned bits) { return (int8_t)bits; }
static float u8_value(unsigned bits) { return (uint8_t)bits; }
template <class T> static float fp8_value(unsigned bits) {
  T small;
  small.__x = (unsigned char)bits;
  return float(small);
}

// Random bits of a type whose products and sums are exact in a float.
static unsigned random_bits(Random &random, const Type &type) {
  if (type.value == half_value) return __half_as_ushort(__float2half((int)random.below(33) - 16.f));
  if (type.value == bfloat_value)
    return __bfloat16_as_ushort(__float2bfloat16((int)random.below(33) - 16.f));
  if (type.value == fp8_value<__nv_fp8_e4m3>) return __nv_fp8_e4m3((int)random.below(17) - 8.f).__x;
  if (type.value == fp8_value<__nv_fp8_e5m2>) return __nv_fp8_e5m2((int)random.below(9) - 4.f).__x;
  if (type.per == 4) return random.below(256);
  float value = (int)random.below(513) - 256.f;
  unsigned bits;
  memcpy(&bits, &value, 4);
  return bits;
}

static void check(int kind, int k, Type of_a, Type of_b) {
  Random random{(uint32_t)kind * 77 + 5};
  std::vector<unsigned> as(128), bs(64), ds(128);
  std::vector<float> a(16 * k), b(k * 8);
  int elements_a = 16 * k / 32, elements_b = k * 8 / 32;
  for (int lane = 0; lane < 32; lane++) {
    for (int i = 0; i < elements_a; i++) {
      unsigned bits = random_bits(random, of_a);
      as[lane * 4 + i / of_a.per] |= bits << 32 / of_a.per * (i % of_a.per);
      a[row_of_a(lane, i, of_a.per) * k + column_of_a(lane, i, of_a.per)] = of_a.value(bits);
    }
    for (int i = 0; i < elements_b; i++) {
      unsigned bits = random_bits(random, of_b);
      bs[lane * 2 + i / of_b.per] |= bits << 32 / of_b.per * (i % of_b.per);
      b[row_of_b(lane, i, of_b.per) * 8 + lane / 4] = of_b.value(bits);
    }
  }
  bool whole = kind >= INT8 && kind <= MIXED;
  std::vector<double> want(128);
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < 4; i++) {
      int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2, start = lane - 3 * i;
      if (kind == INT8_CUT) start = i % 2 ? INT32_MAX - 50 : INT32_MIN + 50;
      float real = (float)start;
      unsigned bits;
      memcpy(&bits, &real, 4);
      if (kind == HALVES)
        ds[lane * 4 + i / 2] |= (unsigned)__half_as_ushort(__float2half(real)) << 16 * (i % 2);
      else
        ds[lane * 4 + i] = whole ? (unsigned)start : bits;
      double sum = start;
      for (int j = 0; j < k; j++) sum += (double)a[row * k + j] * b[j * 8 + column];
      if (kind == INT8_CUT) sum = std::fmin(std::fmax(sum, INT32_MIN), INT32_MAX);
      if (kind == HALVES) sum = __half2float(__double2half(sum));
      want[lane * 4 + i] = sum;
    }
  unsigned *d = to_device(ds);
  multiply<<<1, 32>>>(kind, to_device(as), to_device(bs), d);
  auto got = to_host(d, 128);
  for (int i = 0; i < 128; i++) {
    double value = whole ? (double)(int)got[i] : tf32_value(got[i]);
    if (kind == HALVES) value = half_value(got[i / 4 * 4 + i % 4 / 2] >> 16 * (i % 2) & 0xffff);
    if (value != want[i]) std::printf("kind %d, %d: %.9g, not %.9g\n", kind, i, value, want[i]);
    if (!EXPECT(value == want[i])) return;
  }
}

// f64: 8 x 4 times 4 x 8, and 16 x 8 times 8 x 8.
__global__ void doubles(const double *a, const double *b, double *small, double *large) {
  int g = threadIdx.x / 4, t = threadIdx.x % 4;
  double d0 = 1, d1 = 2;
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
      : "+d"(d0), "+d"(d1)
      : "d"(a[g * 8 + t]), "d"(b[t * 8 + g]));
  small[g * 8 + t * 2] = d0, small[g * 8 + t * 2 + 1] = d1;
  double e[4] = {1, 2, 3, 4};
  asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+d"(e[0]), "+d"(e[1]), "+d"(e[2]), "+d"(e[3])
      : "d"(a[g * 8 + t]), "d"(a[(g + 8) * 8 + t]), "d"(a[g * 8 + t + 4]),
        "d"(a[(g + 8) * 8 + t + 4]), "d"(b[t * 8 + g]), "d"(b[(t + 4) * 8 + g]));
  for (int i = 0; i < 4; i++) large[(g + 8 * (i / 2)) * 8 + t * 2 + i % 2] = e[i];
}

static void check_doubles() {
  std::vector<double> a(128), b(64);
  for (int i = 0; i < 128; i++) a[i] = i * 37 % 101 / 7.0;
  for (int i = 0; i < 64; i++) b[i] = i * 53 % 97 / 11.0;
  double *small = zeros_on_device<double>(64), *large = zeros_on_device<double>(128);
  doubles<<<1, 32>>>(to_device(a), to_device(b), small, large);
  auto s = to_host(small, 64), l = to_host(large, 128);
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 8; column++) {
      double sum = 1 + column % 2;
      for (int k = 0; k < 4; k++) sum += a[row * 8 + k] * b[k * 8 + column];
      if (row < 8) EXPECT(close(s[row * 8 + column], sum, 1e-14));
      for (int k = 4; k < 8; k++) sum += a[row * 8 + k] * b[k * 8 + column];
      EXPECT(close(l[row * 8 + column], sum + (row < 8 ? 0 : 2), 1e-14));
    }
}

int main() {
  Type half{2, half_value}, bfloat{2, bfloat_value}, tf32{1, tf32_value}, s8{4, s8_value},
      u8{4, u8_value}, e4m3{4, fp8_value<__nv_fp8_e4m3>}, e5m2{4, fp8_value<__nv_fp8_e5m2>};
  check(HALF, 16, half, half), check(HALF8, 8, half, half), check(HALVES, 16, half, half);
  check(BFLOAT, 16, bfloat, bfloat), check(BFLOAT8, 8, bfloat, bfloat);
  check(TF32, 8, tf32, tf32), check(TF32_4, 4, tf32, tf32);
  check(INT8, 32, s8, s8), check(INT8_16, 16, s8, s8), check(INT8_CUT, 32, s8, s8);
  check(MIXED, 32, u8, s8), check(FP8, 32, e4m3, e5m2);
  check_doubles();
  return verdict();
}
