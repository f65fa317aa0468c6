// __managed__ variables: used by the host before any call, by kernels, by copies to and from
// symbols.
#include "sample.h"

__managed__ int counter = 5;
__managed__ float table[1000];
__managed__ int *pointer;
__device__ int plain = 3;

__global__ void work() {
  atomicAdd(&counter, 1);
  table[threadIdx.x] += threadIdx.x;
  if (pointer) *pointer = 9;
  atomicAdd(&plain, 1);
}

int main() {
  EXPECT(counter == 5);
  table[3] = 10;
  int *own, told;
  CHECK(cudaMallocManaged(&own, sizeof *own));
  pointer = own;
  work<<<1, 100>>>();
  CHECK(cudaDeviceSynchronize());
  EXPECT(counter == 105 && table[3] == 13 && table[99] == 99 && *own == 9);
  counter = 200;
  work<<<1, 1>>>();
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpyFromSymbol(&told, counter, sizeof told));
  EXPECT(counter == 201 && told == 201);
  told = 300;
  CHECK(cudaMemcpyToSymbol(counter, &told, sizeof told));
  EXPECT(counter == 300);
  CHECK(cudaMemcpyFromSymbol(&told, plain, sizeof told));
  EXPECT(told == 104);
  return verdict();
}
