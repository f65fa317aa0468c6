/* Matrix operations of a whole warp: mma.sync and ldmatrix, with the fragment layouts of the PTX
   ISA
   ("Matrix Fragments for mma.m16n8k16" and its neighbours). g is a lane's group (lane / 4), t its
   place in the group. */
#include "blocks.h"
#include <string.h>

typedef struct shape {
  unsigned k, element_bits;
  float (*to_float)(uint32_t bits);
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

static const shape shapes[] = {
    [RM_MMA_16816_F32_F16] = {16, 16, half_to_float},
    [RM_MMA_1688_F32_F16] = {8, 16, half_to_float},
    [RM_MMA_1688_F32_TF32] = {8, 32, tf32_to_float},
    [RM_MMA_16816_F32_BF16] = {16, 16, bfloat_to_float},
    [RM_MMA_1684_F32_TF32] = {4, 32, tf32_to_float},
    [RM_MMA_1688_F32_BF16] = {8, 16, bfloat_to_float},
};

typedef struct operands {
  float a[16][16], b[16][8];
} operands;

static void put_a(operands *m, const shape *s, uint32_t lane, uint32_t word, uint32_t bits) {
  uint32_t g = lane / 4, t = lane % 4, row = g + 8 * (word & 1);
  if (s->element_bits == 32) {
    m->a[row][t + 4 * (word >> 1)] = s->to_float(bits);
    return;
  }
  m->a[row][t * 2 + 8 * (word >> 1)] = s->to_float(bits & 0xffff);
  m->a[row][t * 2 + 1 + 8 * (word >> 1)] = s->to_float(bits >> 16);
}

static void put_b(operands *m, const shape *s, uint32_t lane, uint32_t word, uint32_t bits) {
  uint32_t g = lane / 4, t = lane % 4;
  if (s->element_bits == 32) {
    m->b[t + 4 * word][g] = s->to_float(bits);
    return;
  }
  m->b[t * 2 + 8 * word][g] = s->to_float(bits & 0xffff);
  m->b[t * 2 + 1 + 8 * word][g] = s->to_float(bits >> 16);
}

static float dot(const operands *m, unsigned k, uint32_t row, uint32_t column, float sum) {
  for (unsigned i = 0; i < k; i++) sum += m->a[row][i] * m->b[i][column];
  return sum;
}

void sg_warp_mma(struct rm_thread *w) {
  const shape *s = &shapes[w[0].b < sizeof shapes / sizeof shapes[0] ? w[0].b : 0];
  uint32_t a_words = (uint32_t)w[0].c, b_words = a_words / 2;
  operands m;
  for (uint32_t lane = 0; lane < SG_WARP; lane++) {
    for (uint32_t i = 0; i < a_words; i++) put_a(&m, s, lane, i, w[lane].values[i]);
    for (uint32_t i = 0; i < b_words; i++) put_b(&m, s, lane, i, w[lane].values[a_words + i]);
  }
  for (uint32_t lane = 0; lane < SG_WARP; lane++) {
    uint32_t *c = w[lane].values + a_words + b_words;
    for (uint32_t i = 0; i < 4; i++) {
      uint32_t row = lane / 4 + 8 * (i >> 1), column = lane % 4 * 2 + (i & 1);
      float d = dot(&m, s->k, row, column, from_bits(c[i]));
      memcpy(&w[lane].values[i], &d, sizeof d);
    }
  }
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
