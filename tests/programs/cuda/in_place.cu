// Copies between pinned and device memory, large and in stream order: nothing on the way need be
// copied by a processor.
#include "program.h"

int main() {
  const size_t n = 4 << 20, rounds = 4;
  unsigned *in, *out, *d;
  CHECK(cudaMallocHost(&in, n * sizeof *in));
  CHECK(cudaHostAlloc(&out, n * sizeof *out, cudaHostAllocPortable));
  CHECK(cudaMalloc(&d, n * sizeof *d));
  for (size_t round = 0; round < rounds; round++) {
    for (size_t i = 0; i < n; i++) in[i] = (unsigned)(i * 7 + round);
    CHECK(cudaMemcpyAsync(d, in, n * sizeof *d, cudaMemcpyHostToDevice));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(out, d, n * sizeof *d, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++) EXPECT(out[i] == (unsigned)(i * 7 + round));
    CHECK(cudaMemcpy(d, out, n * sizeof *d, cudaMemcpyHostToDevice)); // consumed when it returns
    memset(out, 0xff, n * sizeof *out);
    CHECK(cudaMemcpy(out, d, n * sizeof *d, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++) EXPECT(out[i] == (unsigned)(i * 7 + round));
  }
  CHECK(cudaFreeHost(in));
  CHECK(cudaFreeHost(out));
  CHECK(cudaFree(d));
  printf("bytes %zu\n", 4 * rounds * n * sizeof *in);
}
