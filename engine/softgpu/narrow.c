/* Floats of 16 bits and less, for the conversions that PTX makes to and from them: IEEE's own (f16,
   bf16, e5m2), those without infinities (e4m3, e2m3, e3m2, e2m1), and the exponent alone (ue8m0).
 */
#include "kernel_abi.h"
#include <math.h>

typedef struct format {
  int fraction, smallest; /* bits of the fraction; exponent of the smallest normal number */
  uint32_t largest, infinity, nan; /* their codes, without a sign */
  uint32_t sign;
} format;

static const format formats[] = {
    [RM_F16] = {10, -14, 0x7bff, 0x7c00, 0x7fff, 0x8000},
    [RM_BF16] = {7, -126, 0x7f7f, 0x7f80, 0x7fff, 0x8000},
    [RM_E4M3] = {3, -6, 0x7e, 0x7f, 0x7f, 0x80},
    [RM_E5M2] = {2, -14, 0x7b, 0x7c, 0x7f, 0x80},
    [RM_E2M3] = {3, 0, 0x1f, 0x1f, 0x1f, 0x20}, /* NaN becomes the largest number */
    [RM_E3M2] = {2, -2, 0x1f, 0x1f, 0x1f, 0x20},
    [RM_E2M1] = {1, 0, 0x7, 0x7, 0x7, 0x8},
};

/* A size, in units of the last place, as a whole number. 0 nearest even, 1 down, 2 up, 3 to zero.
 */
static double whole(double size, uint32_t rounding, int negative) {
  if (rounding == 0) return rint(size);
  return rounding == (negative ? 1u : 2u) ? ceil(size) : floor(size);
}

static int is_cut(uint32_t rounding, int negative) { /* what is too large becomes the largest */
  return rounding == 3 || rounding == (negative ? 2u : 1u);
}

/* The code of a size; a carry out of the fraction goes into the exponent by itself. */
static uint32_t encode(const format *f, double size, uint32_t rounding, int negative) {
  if (size == 0) return 0;
  int exponent = ilogb(size) > f->smallest ? ilogb(size) : f->smallest;
  double steps = whole(ldexp(size, f->fraction - exponent), rounding, negative);
  return ((uint32_t)(exponent - f->smallest) << f->fraction) + (uint32_t)steps;
}

static uint32_t power_of_two(uint32_t rounding, int saturates, double size) {
  if (isnan(size)) return 0xff;
  if (size <= 0x1p-127) return 0;
  int power = isinf(size) ? 128 : ilogb(size);
  if (rounding == 2 && power < 128 && ldexp(1, power) < size) power++;
  return power > 127 && saturates ? 0xfe : (uint32_t)power + 127;
}

uint32_t rm_narrow(uint32_t number, uint32_t rounding, double value) {
  int saturates = (rounding & RM_SATFINITE) != 0, negative = signbit(value) != 0;
  rounding &= 3;
  if (number == RM_UE8M0) return power_of_two(rounding, saturates, fabs(value));
  const format *f = &formats[number];
  if (isnan(value)) return f->nan;
  uint32_t code = isinf(value) ? f->infinity : encode(f, fabs(value), rounding, negative);
  if (code > f->largest && (saturates || (!isinf(value) && is_cut(rounding, negative))))
    code = f->largest;
  if (code > f->infinity) code = f->infinity;
  return code | (negative ? f->sign : 0);
}

double rm_widen(uint32_t number, uint32_t code) {
  if (number == RM_UE8M0) return code == 0xff ? NAN : ldexp(1, (int)code - 127);
  const format *f = &formats[number];
  uint32_t size = code & (f->sign - 1), fraction = size & ((1u << f->fraction) - 1);
  int exponent = (int)(size >> f->fraction);
  double value = exponent ? ldexp((1 << f->fraction) + fraction, exponent - 1) : fraction;
  value = ldexp(value, f->smallest - f->fraction);
  if (size > f->largest) value = size == f->infinity && f->infinity != f->nan ? INFINITY : NAN;
  return code & f->sign ? -value : value;
}

/* An integer as a double whose last bit is set if others were lost, so that rounding it once more
   gives what rounding the integer would. */
double rm_odd_i64(uint32_t is_signed, int64_t value) {
  int negative = is_signed && value < 0;
  uint64_t size = negative ? 0 - (uint64_t)value : (uint64_t)value, low = size & 0x7ff;
  if (size >> 53) size = (size & ~(uint64_t)0x7ff) | (low ? 0x800 : 0);
  return negative ? -(double)size : (double)size;
}
