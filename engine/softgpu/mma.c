/* Matrix operations of a whole warp: mma.sync and ldmatrix, with the fragment layouts of the PTX
   ISA ("Matrix Fragments for mma.m16n8k16" and its neighbours). g is a lane's group (lane / 4), t
   its place in the group. Whatever the type, word w of A holds consecutive elements of row
   g + 8 * (w & 1), and word w of B of column g. */
#include "blocks.h"
#include <math.h>
#include <string.h>

enum { MAX_K = 32 };

/* Two matrices as they are multiplied: every type but f64 fits a float, and so do sums of integer
   products. */
typedef struct operands {
  float a[16][MAX_K], b[8][MAX_K];
} operands;

typedef struct shape {
  uint32_t m, k, a, b, c; /* rows, columns of A; enum rm_mma types */
  uint32_t a_words, b_words;
  bool saturates;
} shape;

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float half_to_float(uint32_t h) {
  uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 0) {
    float value = (float)mantissa * (1.0f / 16777216.0f);
    return sign ? -value : value;
  }
  if (exponent == 31) return from_bits(sign | 0x7f800000 | mantissa << 13);
  return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static float bfloat_to_float(uint32_t h) { return from_bits(h << 16); }
static float tf32_to_float(uint32_t bits) { return from_bits(bits & ~0x1fffu); }

static uint32_t width(uint32_t type) { /* in bits */
  switch (type) {
  case RM_MMA_F16:
  case RM_MMA_BF16: return 16;
  case RM_MMA_TF32: return 32;
  case RM_MMA_F64: return 64;
  default: return 8;
  }
}

static float element(uint32_t type, uint32_t word, uint32_t i) {
  switch (type) {
  case RM_MMA_F16: return half_to_float(word >> 16 * i & 0xffff);
  case RM_MMA_BF16: return bfloat_to_float(word >> 16 * i & 0xffff);
  case RM_MMA_TF32: return tf32_to_float(word);
  case RM_MMA_S8: return (int8_t)(word >> 8 * i);
  case RM_MMA_U8: return (uint8_t)(word >> 8 * i);
  default: return (float)rm_widen(type == RM_MMA_E4M3 ? RM_E4M3 : RM_E5M2, word >> 8 * i & 0xff);
  }
}

static void put_a(operands *m, uint32_t type, uint32_t lane, uint32_t word, uint32_t bits) {
  uint32_t per_word = 32 / width(type), row = lane / 4 + 8 * (word & 1);
  uint32_t column = (lane % 4 + 4 * (word >> 1)) * per_word;
  for (uint32_t i = 0; i < per_word; i++) m->a[row][column + i] = element(type, bits, i);
}

static void put_b(operands *m, uint32_t type, uint32_t lane, uint32_t word, uint32_t bits) {
  uint32_t per_word = 32 / width(type), row = (lane % 4 + 4 * word) * per_word;
  for (uint32_t i = 0; i < per_word; i++) m->b[lane / 4][row + i] = element(type, bits, i);
}

static float dot(const operands *m, uint32_t k, uint32_t row, uint32_t column, float sum) {
  for (uint32_t i = 0; i < k; i++) sum += m->a[row][i] * m->b[column][i];
  return sum;
}

static uint32_t whole_sum(const operands *m, const shape *s, uint32_t row, uint32_t column,
                          uint32_t c) {
  int64_t sum = (int64_t)dot(m, s->k, row, column, 0) + (int32_t)c;
  if (s->saturates && sum > INT32_MAX) sum = INT32_MAX;
  if (s->saturates && sum < INT32_MIN) sum = INT32_MIN;
  return (uint32_t)sum;
}

/* Word w of D, from word w of C: two neighbours in a row of f16, else one number. */
static uint32_t result(const operands *m, const shape *s, uint32_t lane, uint32_t w, uint32_t c) {
  uint32_t row = lane / 4, column = lane % 4 * 2, bits;
  if (s->c == RM_MMA_F16) {
    row += 8 * w;
    uint32_t low = rm_narrow(RM_F16, 0, dot(m, s->k, row, column, half_to_float(c & 0xffff)));
    uint32_t high = rm_narrow(RM_F16, 0, dot(m, s->k, row, column + 1, half_to_float(c >> 16)));
    return low | high << 16;
  }
  row += 8 * (w >> 1), column += w & 1;
  if (s->c == RM_MMA_S32) return whole_sum(m, s, row, column, c);
  float d = dot(m, s->k, row, column, from_bits(c));
  memcpy(&bits, &d, sizeof bits);
  return bits;
}

static void multiply(struct rm_thread *w, const shape *s) {
  operands m;
  uint32_t before_c = s->a_words + s->b_words, c_words = s->m / 4 / (s->c == RM_MMA_F16 ? 2 : 1);
  for (uint32_t lane = 0; lane < SG_WARP; lane++) {
    for (uint32_t i = 0; i < s->a_words; i++) put_a(&m, s->a, lane, i, w[lane].values[i]);
    for (uint32_t i = 0; i < s->b_words; i++)
      put_b(&m, s->b, lane, i, w[lane].values[s->a_words + i]);
  }
  for (uint32_t lane = 0; lane < SG_WARP; lane++)
    for (uint32_t i = 0; i < c_words; i++)
      w[lane].values[i] = result(&m, s, lane, i, w[lane].values[before_c + i]);
}

/* ---- f64: a lane's elements lie as those of tf32 do, two words each */

static double take(const struct rm_thread *w, uint32_t i) {
  double value;
  memcpy(&value, &w->values[2 * i], sizeof value);
  return value;
}

static void multiply_f64(struct rm_thread *w, const shape *s) {
  double a[16][16], b[8][16];
  uint32_t a_count = s->a_words / 2, before_c = (s->a_words + s->b_words) / 2;
  for (uint32_t lane = 0; lane < SG_WARP; lane++) {
    uint32_t g = lane / 4, t = lane % 4;
    for (uint32_t i = 0; i < a_count; i++) a[g + 8 * (i & 1)][t + 4 * (i >> 1)] = take(&w[lane], i);
    for (uint32_t i = a_count; i < before_c; i++) b[g][t + 4 * (i - a_count)] = take(&w[lane], i);
  }
  for (uint32_t lane = 0; lane < SG_WARP; lane++)
    for (uint32_t i = 0; i < s->m / 4; i++) {
      uint32_t row = lane / 4 + 8 * (i >> 1), column = lane % 4 * 2 + (i & 1);
      double d = take(&w[lane], before_c + i);
      for (uint32_t k = 0; k < s->k; k++) d = fma(a[row][k], b[column][k], d);
      memcpy(&w[lane].values[2 * i], &d, sizeof d);
    }
}

static uint32_t words(uint32_t rows, uint32_t k, uint32_t type) { /* that a lane holds */
  return rows * k * width(type) / 32 / SG_WARP;
}

/* The shape as the kernel names it; false for one that can't be, which no kernel of ours names. */
static bool read_shape(shape *s, uint64_t number) {
  *s = (shape){number & 0xff,       number >> 8 & 0xff,  number >> 16 & 0xff,
               number >> 24 & 0xff, number >> 32 & 0xff, .saturates = number >> 40 & 1};
  s->a_words = words(s->m, s->k, s->a), s->b_words = words(8, s->k, s->b);
  return (s->m == 8 || s->m == 16) && s->k <= (s->c == RM_MMA_F64 ? 16u : MAX_K) &&
         (s->a == RM_MMA_F64) == (s->c == RM_MMA_F64) &&
         (s->b == RM_MMA_F64) == (s->c == RM_MMA_F64);
}

void sg_warp_mma(struct rm_thread *w) {
  shape s;
  if (!read_shape(&s, w[0].b)) return;
  if (s.c == RM_MMA_F64)
    multiply_f64(w, &s);
  else
    multiply(w, &s);
}

/* Lane l of matrix m holds two elements; the addresses of its rows come from lanes 8m to 8m + 7. */
static uint32_t matrix_word(const struct rm_thread *w, uint32_t matrix, uint32_t lane,
                            bool transposed) {
  uint16_t e[2];
  for (uint32_t h = 0; h < 2; h++) {
    uint32_t row = transposed ? lane % 4 * 2 + h : lane / 4;
    uint32_t column = transposed ? lane / 4 : lane % 4 * 2 + h;
    memcpy(&e[h], (const uint16_t *)w[matrix * 8 + row].a + column, sizeof e[h]);
  }
  return e[0] | (uint32_t)e[1] << 16;
}

void sg_warp_ldmatrix(struct rm_thread *w) {
  uint32_t matrices = (uint32_t)w[0].b;
  for (uint32_t m = 0; m < matrices && m < 4; m++)
    for (uint32_t lane = 0; lane < SG_WARP; lane++)
      w[lane].values[m] = matrix_word(w, m, lane, w[0].c != 0);
}
