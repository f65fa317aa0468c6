// program.h: what every test program shares: stop at the first error, write results for NumPy to
// judge.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <cuda_runtime.h>

#define CHECK(call)                                                                                \
  do {                                                                                             \
    cudaError_t status_ = (call);                                                                  \
    if (status_ != cudaSuccess) {                                                                  \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(status_));  \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#define EXPECT(condition)                                                                          \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition);                     \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

template <class T>
void write_result(const char *folder, const char *name, const T *data, size_t n) {
  std::string path = std::string(folder) + "/" + name;
  FILE *file = fopen(path.c_str(), "wb");
  EXPECT(file && fwrite(data, sizeof(T), n, file) == n && fclose(file) == 0);
}

template <class T>
void write_result(const char *folder, const char *name, const std::vector<T> &v) {
  write_result(folder, name, v.data(), v.size());
}

// The same inputs as NumPy makes in the tests: exact in float, so results compare equal.
inline float sample(size_t i, unsigned seed) {
  return (float)((i * 2654435761u + seed) % 4096u) / 16.0f;
}
