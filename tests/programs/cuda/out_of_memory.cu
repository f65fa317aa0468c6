// Fills the device, is refused, frees, and tries again. Prints the sizes it was told.
#include "program.h"

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  size_t free_bytes, total;
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  CHECK(cudaMemGetInfo(&free_bytes, &total));
  EXPECT(properties.totalGlobalMem == total);
  EXPECT(free_bytes <= total);
  char *big = nullptr, *more = nullptr;
  EXPECT(cudaMalloc(&more, total + 1) == cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&big, free_bytes));
  size_t left;
  CHECK(cudaMemGetInfo(&left, nullptr));
  EXPECT(cudaMalloc(&more, 1 << 20) == cudaErrorMemoryAllocation);
  cudaGetLastError();
  CHECK(cudaMemset(big + free_bytes - 4096, 0x5a,
                   4096)); // the context is unharmed, the last byte is ours
  unsigned char last = 0;
  CHECK(cudaMemcpy(&last, big + free_bytes - 1, 1, cudaMemcpyDeviceToHost));
  EXPECT(last == 0x5a);
  CHECK(cudaFree(big));
  CHECK(cudaMalloc(&more, 1 << 20));
  size_t after;
  CHECK(cudaFree(more));
  CHECK(cudaMemGetInfo(&after, nullptr));
  EXPECT(after == free_bytes);
  unsigned long long sizes[4] = {total, free_bytes, left, after};
  write_result(folder, "sizes.raw", sizes, 4);
  puts("out_of_memory: done");
}
