// Reports the device's size as every API tells it, fills it to the last byte, and is refused one
// byte more.
#include "program.h"
#include <cuda.h>
#include <dlfcn.h>

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  size_t free_bytes, total;
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  CHECK(cudaMemGetInfo(&free_bytes, &total));
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  EXPECT(library);
  auto total_mem = (CUresult (*)(size_t *, CUdevice))dlsym(library, "cuDeviceTotalMem_v2");
  size_t driver_total = 0;
  EXPECT(total_mem(&driver_total, 0) == CUDA_SUCCESS);

  // In pieces of odd sizes: what is charged is what was asked for, byte for byte.
  std::vector<void *> pieces;
  size_t left = free_bytes, sizes[] = {1, 1000003, 4096, 33, (size_t)1 << 20};
  for (size_t size : sizes) {
    void *p;
    CHECK(cudaMalloc(&p, size));
    pieces.push_back(p);
    left -= size;
  }
  void *rest = nullptr, *none = nullptr;
  EXPECT(cudaMalloc(&none, left + 1) == cudaErrorMemoryAllocation);
  cudaGetLastError();
  CHECK(cudaMalloc(&rest, left));
  EXPECT(cudaMalloc(&none, 1) == cudaErrorMemoryAllocation);
  cudaGetLastError();
  for (void *p : pieces) CHECK(cudaFree(p));
  CHECK(cudaFree(rest));
  size_t after;
  CHECK(cudaMemGetInfo(&after, nullptr));
  unsigned long long out[5] = {properties.totalGlobalMem, total, driver_total, free_bytes, after};
  write_result(folder, "sizes.raw", out, 5);
  puts("quota: done");
}
