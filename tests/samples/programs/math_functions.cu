// The math library against the host's in higher precision: errors in units in the last place stay
// within what the programming guide promises; special values; exact operations.
#include "sample.h"

// name, greatest error in ulp of float and of double
// clang-format off
#define FUNCTIONS(X)                                                                               \
  X(sin, 2, 2) X(cos, 2, 2) X(tan, 4, 2) X(exp, 2, 1) X(exp2, 2, 1) X(expm1, 1, 1) X(log, 1, 1)    \
  X(log2, 1, 1) X(log10, 2, 1) X(log1p, 1, 1) X(sqrt, 0, 0) X(cbrt, 1, 1) X(erf, 2, 2)             \
  X(erfc, 4, 5) X(sinh, 3, 2) X(cosh, 2, 1) X(tanh, 2, 2) X(asinh, 3, 3) X(atan, 2, 2)             \
  X(floor, 0, 0) X(ceil, 0, 0) X(trunc, 0, 0) X(rint, 0, 0) X(round, 0, 0) X(fabs, 0, 0)
// clang-format on

#define KERNEL(name, f_ulp, d_ulp)                                                                 \
  template <class T> __global__ void name##_kernel(const T *x, T *y, int n) {                      \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)        \
      y[i] = name(x[i]);                                                                           \
  }
FUNCTIONS(KERNEL)

template <class T> double ulps(T got, long double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  if ((T)want == got) return 0;
  if (std::isinf((T)want)) return INFINITY;
  T next = std::nextafter(std::fabs((T)want), (T)INFINITY);
  return (double)(std::fabs((long double)got - want) / ((long double)next - std::fabs((T)want)));
}

template <class T>
static void check(const char *name, void (*kernel)(const T *, T *, int),
                  long double (*exact)(long double), const std::vector<T> &x, double bound) {
  int n = (int)x.size();
  T *in = to_device(x), *out = zeros_on_device<T>(n);
  kernel<<<4, 64>>>(in, out, n);
  auto y = to_host(out, n);
  double worst = 0;
  T at = 0;
  for (int i = 0; i < n; i++) {
    double e = ulps(y[i], exact(x[i]));
    if (e > worst) worst = e, at = x[i];
  }
  if (!EXPECT(worst <= bound + 0.5001))
    std::printf("%s (%d bytes): %g ulp at %.17g\n", name, (int)sizeof(T), worst, (double)at);
  CHECK(cudaFree(in));
  CHECK(cudaFree(out));
}

template <class T> static std::vector<T> arguments() {
  std::vector<T> x = {0,      T(-0.0), 1,        -1,        T(0.5), T(-0.5),
                      T(1.5), T(-2.5), INFINITY, -INFINITY, NAN};
  Random random;
  for (int i = 0; i < 600; i++) x.push_back(T((random.real() - 0.5f) * (i < 300 ? 4 : 40)));
  for (int i = 0; i < 40; i++)
    x.push_back(T(std::ldexp(random.real() + 0.5f, -(int)random.below(30))));
  return x;
}

struct Pair {
  float power, fused, divided, reciprocal_root, remainder, hypotenuse, arc, fast_sine, fast_exp,
      scaled;
  double dpower, dfused, ddivided, dreciprocal_root, dremainder;
};

__global__ void two(const float *a, const float *b, Pair *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float x = a[i], y = b[i];
  double dx = x, dy = y;
  out[i] = {powf(x, y),   fmaf(x, y, 0.1f), x / y,     rsqrtf(x), fmodf(x, y),
            hypotf(x, y), atan2f(x, -y),    __sinf(x), __expf(y), ldexpf(x, (int)y),
            pow(dx, dy),  fma(dx, dy, 0.1), dx / dy,   rsqrt(dx), fmod(dx * 1e10, dy)};
}

static void of_two() {
  const int n = 2000;
  auto a = random_reals(n, 1), b = random_reals(n, 2);
  for (int i = 0; i < n; i++) a[i] = a[i] * 3 + 0.01f, b[i] = b[i] * 8 + 0.01f;
  Pair *d = zeros_on_device<Pair>(n);
  two<<<(n + 127) / 128, 128>>>(to_device(a), to_device(b), d, n);
  auto p = to_host(d, n);
  for (int i = 0; i < n; i++) {
    float x = a[i], y = b[i];
    double dx = x, dy = y;
    EXPECT(ulps(p[i].power, powl(x, y)) <= 4.5 && ulps(p[i].fused, fmaf(x, y, 0.1f)) == 0);
    EXPECT(p[i].divided == x / y && ulps(p[i].reciprocal_root, 1 / sqrtl(x)) <= 2.5);
    EXPECT(p[i].remainder == fmodf(x, y) && ulps(p[i].hypotenuse, hypotl(x, y)) <= 3.5);
    EXPECT(ulps(p[i].arc, atan2l(x, -y)) <= 3.5 && std::fabs(p[i].fast_sine - std::sin(dx)) < 1e-6);
    EXPECT(close(p[i].fast_exp, std::exp(dy), 1e-5) && p[i].scaled == std::ldexp(x, (int)y));
    EXPECT(ulps(p[i].dpower, powl(dx, dy)) <= 2.5 && p[i].dfused == fma(dx, dy, 0.1));
    EXPECT(p[i].ddivided == dx / dy && ulps(p[i].dreciprocal_root, 1 / sqrtl(dx)) <= 1.5);
    EXPECT(p[i].dremainder == fmod(dx * 1e10, dy));
  }
}

int main() {
  auto f = arguments<float>();
  auto d = arguments<double>();
#define RUN(name, f_ulp, d_ulp)                                                                    \
  check<float>(#name, name##_kernel<float>, [](long double x) { return name##l(x); }, f, f_ulp);   \
  check<double>(#name, name##_kernel<double>, [](long double x) { return name##l(x); }, d, d_ulp);
  FUNCTIONS(RUN)
  of_two();
  return verdict();
}
