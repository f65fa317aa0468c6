// Bit tricks: counts, leading and trailing bits, reversal, byte permutation, funnel shifts, packed
// arithmetic, dot products of bytes; each against plain loops on the host.
#include "sample.h"

static const int OUT = 24;

__global__ void tricks(const uint32_t *a, const uint32_t *b, uint32_t *out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  uint32_t x = a[i], y = b[i], *o = out + i * OUT;
  uint64_t w = (uint64_t)x << 32 | y;
  o[0] = __popc(x), o[1] = __clz(x), o[2] = __ffs(x), o[3] = __brev(x);
  o[4] = __popcll(w), o[5] = __clzll(w), o[6] = __ffsll(w);
  uint64_t r = __brevll(w);
  o[7] = r >> 32, o[8] = (uint32_t)r;
  o[9] = __byte_perm(x, y, 0x6514), o[10] = __byte_perm(x, y, y & 0x7777);
  o[11] = __funnelshift_l(x, y, x), o[12] = __funnelshift_r(x, y, y),
  o[13] = __funnelshift_lc(x, y, y & 63);
  o[14] = __vadd4(x, y), o[15] = __vabsdiffu4(x, y), o[16] = __vmaxs2(x, y),
  o[17] = __vcmpgtu4(x, y);
  o[18] = __dp4a((int)x, (int)y, 17), o[19] = __dp4a(x, y, 17u);
  o[20] = __sad((int)x, (int)y, 5u), o[21] = __hadd((int)x, (int)y), o[22] = __urhadd(x, y);
  asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(o[23]) : "r"(x), "r"(y), "r"(0x0f0f3355u));
}

static uint32_t byte_of(uint64_t both, unsigned selector) {
  return both >> 8 * (selector & 7) & 0xff;
}

static uint32_t permute(uint32_t x, uint32_t y, uint32_t selector) {
  uint32_t r = 0;
  for (int k = 0; k < 4; k++) r |= byte_of((uint64_t)y << 32 | x, selector >> 4 * k) << 8 * k;
  return r;
}

static uint32_t each_byte(uint32_t x, uint32_t y, uint32_t (*f)(uint32_t, uint32_t)) {
  uint32_t r = 0;
  for (int k = 0; k < 32; k += 8) r |= (f(x >> k & 0xff, y >> k & 0xff) & 0xff) << k;
  return r;
}

static void expected(uint32_t x, uint32_t y, uint32_t *o) {
  uint64_t w = (uint64_t)x << 32 | y, r = 0, yx = (uint64_t)y << 32 | x;
  for (int i = 0; i < 64; i++) r |= (w >> i & 1) << (63 - i);
  o[0] = __builtin_popcount(x), o[1] = x ? __builtin_clz(x) : 32, o[2] = __builtin_ffs(x);
  o[3] = (uint32_t)r; // the upper half of w, reversed, is the lower half of r
  o[4] = __builtin_popcountll(w), o[5] = w ? __builtin_clzll(w) : 64, o[6] = __builtin_ffsll(w);
  o[7] = r >> 32, o[8] = (uint32_t)r;
  o[9] = permute(x, y, 0x6514), o[10] = permute(x, y, y & 0x7777);
  o[11] = (uint32_t)((yx << (x & 31)) >> 32), o[12] = (uint32_t)(yx >> (y & 31));
  unsigned by = y & 63;
  o[13] = by >= 32 ? x : (uint32_t)((yx << by) >> 32);
  o[14] = each_byte(x, y, [](uint32_t a, uint32_t b) { return a + b; });
  o[15] = each_byte(x, y, [](uint32_t a, uint32_t b) { return a > b ? a - b : b - a; });
  o[17] = each_byte(x, y, [](uint32_t a, uint32_t b) { return a > b ? 255u : 0u; });
  auto high = [](int16_t a, int16_t b) { return (uint32_t)(uint16_t)std::max(a, b); };
  o[16] = high(x >> 16, y >> 16) << 16 | high((int16_t)x, (int16_t)y);
  int dot = 17;
  unsigned udot = 17;
  for (int k = 0; k < 32; k += 8)
    dot += (int8_t)(x >> k) * (int8_t)(y >> k), udot += (uint8_t)(x >> k) * (uint8_t)(y >> k);
  o[18] = dot, o[19] = udot;
  int64_t sx = (int32_t)x, sy = (int32_t)y;
  o[20] = (uint32_t)(5 + std::llabs(sx - sy)), o[21] = (uint32_t)((sx + sy) >> 1);
  o[22] = (uint32_t)(((uint64_t)x + y + 1) >> 1), o[23] = x ^ y ^ 0x0f0f3355u;
}

int main() {
  const int n = 1024;
  auto a = random_words(n, 1), b = random_words(n, 2);
  uint32_t edges[] = {0, 1, 0x80000000u, 0xffffffffu, 0x7fffffffu, 0x00ff00ffu};
  for (int i = 0; i < 36; i++) a[i] = edges[i % 6], b[i] = edges[i / 6];
  uint32_t *out = zeros_on_device<uint32_t>(n * OUT);
  tricks<<<n / 128, 128>>>(to_device(a), to_device(b), out);
  auto got = to_host(out, n * OUT);
  int wrong[OUT] = {};
  for (int i = 0; i < n; i++) {
    uint32_t want[OUT];
    expected(a[i], b[i], want);
    for (int k = 0; k < OUT; k++) wrong[k] += got[i * OUT + k] != want[k];
  }
  for (int k = 0; k < OUT; k++)
    if (!EXPECT(wrong[k] == 0)) std::printf("operation %d: %d wrong\n", k, wrong[k]);
  return verdict();
}
