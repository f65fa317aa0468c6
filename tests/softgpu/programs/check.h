// What every program here shares: stop at the first CUDA error, say OK at the end.
#pragma once
#include <cstdio>
#include <cstdlib>
#define CHECK(call)                                                                                \
  do {                                                                                             \
    cudaError_t error = (call);                                                                    \
    if (error != cudaSuccess) {                                                                    \
      std::printf("%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorName(error));                     \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (0)
#define REQUIRE(what)                                                                              \
  do {                                                                                             \
    if (!(what)) {                                                                                 \
      std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                               \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (0)
