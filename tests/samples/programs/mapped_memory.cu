// Host memory that kernels read and write where it is, on devices that say they can.
#include "sample.h"

__global__ void increment(int *x, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) x[i]++;
}

int main() {
  const int n = 1000;
  int *mapped, *d, able = 0;
  CHECK(cudaDeviceGetAttribute(&able, cudaDevAttrCanMapHostMemory, 0));
  CHECK(cudaHostAlloc(&mapped, n * sizeof(int), cudaHostAllocMapped));
  for (int i = 0; i < n; i++) mapped[i] = i;
  cudaError_t told = cudaHostGetDevicePointer(&d, mapped, 0);
  if (!able) { // then nothing may pretend
    EXPECT(told != cudaSuccess);
    return verdict();
  }
  CHECK(told);
  increment<<<1, 64>>>(d, n);
  CHECK(cudaDeviceSynchronize());
  for (int i = 0; i < n; i++) EXPECT(mapped[i] == i + 1);
  std::vector<int> own(n, 7);
  CHECK(cudaHostRegister(own.data(), n * sizeof(int), cudaHostRegisterMapped));
  CHECK(cudaHostGetDevicePointer(&d, own.data(), 0));
  increment<<<1, 64>>>(d + 10, n - 10);
  CHECK(cudaDeviceSynchronize());
  EXPECT(own[9] == 7 && own[10] == 8 && own[n - 1] == 8);
  CHECK(cudaHostUnregister(own.data()));
  CHECK(cudaFreeHost(mapped));
  return verdict();
}
