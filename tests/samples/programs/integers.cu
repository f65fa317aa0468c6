// Whole numbers of all widths: division and remainder with every sign, products of 64 and 128 bits,
// shifts, conversions, powers modulo a prime.
#include "sample.h"

template <class T> struct Answers {
  T quotient, remainder, by_seven, of_ten, product, left, right, bits;
};

template <class T> __host__ __device__ Answers<T> compute(T a, T b) {
  T d = b ? b : T(3);
  int by = (int)(b & (sizeof(T) * 8 - 1));
  return {T(a / d), T(a % d),   T(a / T(7)), T(a % T(10)),
          T(a * b), T(a << by), T(a >> by),  T(~a ^ b)};
}

template <class T> __global__ void kernel(const T *a, const T *b, Answers<T> *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = compute(a[i], b[i]);
}

template <class T> static void check() {
  const int n = 2000;
  std::vector<T> a(n), b(n);
  auto x = random_words(n, 3), y = random_words(n, 4);
  for (int i = 0; i < n; i++) {
    a[i] = T((uint64_t)x[i] << 32 | y[i]), b[i] = T((uint64_t)y[i] * 77 + x[i]);
    if (i % 3 == 0) b[i] = T(b[i] % T(100));
    if (i % 5 == 0) a[i] = T(a[i] % T(1000));
    if (b[i] == T(-1)) b[i] = T(1); // the least number divided by -1 has no quotient
  }
  Answers<T> *out = zeros_on_device<Answers<T>>(n);
  kernel<<<(n + 127) / 128, 128>>>(to_device(a), to_device(b), out, n);
  auto got = to_host(out, n);
  int wrong = 0;
  for (int i = 0; i < n; i++) {
    Answers<T> w = compute(a[i], b[i]), g = got[i];
    wrong += g.quotient != w.quotient || g.remainder != w.remainder || g.by_seven != w.by_seven ||
             g.of_ten != w.of_ten || g.product != w.product || g.left != w.left ||
             g.right != w.right || g.bits != w.bits;
  }
  EXPECT(wrong == 0);
}

__global__ void wide(const uint64_t *a, const uint64_t *b, uint64_t *out) {
  int i = threadIdx.x;
  unsigned __int128 p = (unsigned __int128)a[i] * b[i];
  out[i * 6] = __umul64hi(a[i], b[i]), out[i * 6 + 1] = __mul64hi((long long)a[i], (long long)b[i]);
  out[i * 6 + 2] = __umulhi((unsigned)a[i], (unsigned)b[i]);
  out[i * 6 + 3] = (uint64_t)__mulhi((int)a[i], (int)b[i]);
  out[i * 6 + 4] = (uint64_t)((p + a[i]) >> 64), out[i * 6 + 5] = (uint64_t)(p / (b[i] | 1));
}

__global__ void powers(const uint32_t *base, uint32_t *out, uint32_t exponent, uint32_t prime) {
  uint64_t result = 1, x = base[threadIdx.x] % prime;
  for (; exponent; exponent >>= 1, x = x * x % prime)
    if (exponent & 1) result = result * x % prime;
  out[threadIdx.x] = (uint32_t)result;
}

__global__ void conversions(const float *f, const double *d, long long *out) {
  int i = threadIdx.x;
  long long *o = out + i * 10;
  o[0] = (int)f[i], o[1] = (unsigned char)(int)f[i], o[2] = (long long)d[i],
  o[3] = __float2int_rn(f[i]);
  o[4] = __float2int_ru(f[i]), o[5] = __float2int_rd(f[i]), o[6] = __double2ll_rn(d[i]);
  o[7] = (long long)(unsigned long long)fabs(d[i]), o[8] = llrint(d[i]),
  o[9] = (long long)(float)o[2];
}

int main() {
  check<int8_t>(), check<uint8_t>(), check<int16_t>(), check<uint16_t>();
  check<int32_t>(), check<uint32_t>(), check<int64_t>(), check<uint64_t>();

  const int n = 256;
  auto x = random_words(4 * n);
  std::vector<uint64_t> a(n), b(n);
  for (int i = 0; i < n; i++)
    a[i] = (uint64_t)x[i] << 32 | x[i + n],
    b[i] = (uint64_t)x[i + 2 * n] << (i % 33) | x[i + 3 * n];
  uint64_t *out = zeros_on_device<uint64_t>(6 * n);
  wide<<<1, n>>>(to_device(a), to_device(b), out);
  auto got = to_host(out, 6 * n);
  for (int i = 0; i < n; i++) {
    unsigned __int128 p = (unsigned __int128)a[i] * b[i];
    EXPECT(got[i * 6] == (uint64_t)(p >> 64));
    EXPECT(got[i * 6 + 1] == (uint64_t)(((__int128)(int64_t)a[i] * (int64_t)b[i]) >> 64));
    EXPECT(got[i * 6 + 2] == (uint64_t)(uint32_t)a[i] * (uint32_t)b[i] >> 32);
    EXPECT(got[i * 6 + 3] == (uint64_t)((int64_t)(int32_t)a[i] * (int32_t)b[i] >> 32));
    EXPECT(got[i * 6 + 4] == (uint64_t)((p + a[i]) >> 64));
    EXPECT(got[i * 6 + 5] == (uint64_t)(p / (b[i] | 1)));
  }

  const uint32_t prime = 4294967291u; // by Fermat, x^(p-1) = 1
  uint32_t *ones = zeros_on_device<uint32_t>(n);
  powers<<<1, n>>>(to_device(x), ones, prime - 1, prime);
  EXPECT(to_host(ones, n) == std::vector<uint32_t>(n, 1));

  std::vector<float> f(n);
  std::vector<double> d(n);
  for (int i = 0; i < n; i++) f[i] = (i - n / 2) * 0.5f, d[i] = ((int)x[i] >> 3) * 1234.5;
  long long *numbers = zeros_on_device<long long>(10 * n);
  conversions<<<1, n>>>(to_device(f), to_device(d), numbers);
  auto c = to_host(numbers, 10 * n);
  for (int i = 0; i < n; i++) {
    long long want[] = {(int)f[i],
                        (unsigned char)(int)f[i],
                        (long long)d[i],
                        std::lrint(f[i]),
                        (long long)std::ceil(f[i]),
                        (long long)std::floor(f[i]),
                        std::llrint(d[i]),
                        (long long)std::fabs(d[i]),
                        std::llrint(d[i]),
                        (long long)(float)(long long)d[i]};
    for (int k = 0; k < 10; k++) EXPECT(c[i * 10 + k] == want[k]);
  }
  return verdict();
}
