// What the samples share: the check of every CUDA call, expectations that are counted, test data.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHECK(call)                                                                                \
  do {                                                                                             \
    cudaError_t status_ = (call);                                                                  \
    if (status_ != cudaSuccess) {                                                                  \
      std::printf("%s:%d: %s: %s (%s)\nFAILED\n", __FILE__, __LINE__, #call,                       \
                  cudaGetErrorName(status_), cudaGetErrorString(status_));                         \
      std::exit(2);                                                                                \
    }                                                                                              \
  } while (0)

// Says what does not hold; verdict() tells whether all did.
#define EXPECT(what) expect((what), #what, __FILE__, __LINE__)

static int failures = 0;

inline bool expect(bool holds, const char *what, const char *file, int line) {
  if (!holds && failures++ < 20) std::printf("%s:%d: not so: %s\n", file, line, what);
  return holds;
}

// The last line of a sample, and its exit status.
inline int verdict() {
  std::puts(failures ? "FAILED" : "PASSED");
  return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

// xorshift: the same numbers in every run.
struct Random {
  uint32_t state = 2463534242u;
  uint32_t next() {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
  }
  uint32_t below(uint32_t n) { return next() % n; }
  float real() { return (next() >> 8) / 16777216.0f; } // [0, 1)
};

inline std::vector<float> random_reals(size_t n, uint32_t seed = 1) {
  Random random{seed * 2654435761u + 1};
  std::vector<float> v(n);
  for (auto &x : v) x = random.real();
  return v;
}

inline std::vector<uint32_t> random_words(size_t n, uint32_t seed = 1) {
  Random random{seed * 2654435761u + 1};
  std::vector<uint32_t> v(n);
  for (auto &x : v) x = random.next();
  return v;
}

template <class T> T *to_device(const std::vector<T> &v) {
  T *d = nullptr;
  CHECK(cudaMalloc(&d, v.size() * sizeof(T)));
  CHECK(cudaMemcpy(d, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
  return d;
}

template <class T> T *zeros_on_device(size_t n) {
  T *d = nullptr;
  CHECK(cudaMalloc(&d, n * sizeof(T)));
  CHECK(cudaMemset(d, 0, n * sizeof(T)));
  return d;
}

template <class T> std::vector<T> to_host(const T *d, size_t n) {
  std::vector<T> v(n);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(v.data(), d, n * sizeof(T), cudaMemcpyDeviceToHost));
  return v;
}

inline bool close(double got, double want, double relative, double absolute = 0) {
  return std::fabs(got - want) <= relative * std::fabs(want) + absolute;
}
