// Holds memory and keeps the device busy until the file "go" is there: company for other programs.
#include "program.h"
#include <unistd.h>

__global__ void step(float *x, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] += 1.0f;
}

int main(int argc, char **argv) {
  std::string folder = argc > 1 ? argv[1] : ".";
  size_t bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 64) << 20;
  int n = 100000, rounds = 0;
  float *d, first;
  CHECK(cudaMalloc(&d, bytes));
  CHECK(cudaMemset(d, 0, n * sizeof(float)));
  FILE *ready = fopen((folder + "/ready").c_str(), "w");
  EXPECT(ready && fclose(ready) == 0);
  while (access((folder + "/go").c_str(), F_OK) != 0) {
    step<<<32, 128>>>(d, n);
    rounds++;
    cudaError_t status = cudaDeviceSynchronize();
    if (status != cudaSuccess) {
      fprintf(stderr, "hold: %s: %s\n", cudaGetErrorName(status), cudaGetErrorString(status));
      return 9;
    }
    usleep(2000);
  }
  CHECK(cudaMemcpy(&first, d, sizeof first, cudaMemcpyDeviceToHost));
  EXPECT(first == (float)rounds);
  puts("hold: done");
}
