// Waits in one synchronising call for a kernel that takes very long.
#include "program.h"

__global__ void busy(unsigned *x, unsigned long long turns) {
  unsigned v = threadIdx.x;
  for (unsigned long long i = 0; i < turns; i++) v = v * 1664525u + 1013904223u;
  *x = v;
}

int main(int, char **argv) {
  std::string folder = argv[1];
  unsigned *d;
  CHECK(cudaMalloc(&d, 4));
  busy<<<1, 1>>>(d, 1ull << 40);
  FILE *ready = fopen((folder + "/ready").c_str(), "w");
  EXPECT(ready && fclose(ready) == 0);
  CHECK(cudaDeviceSynchronize());
}
