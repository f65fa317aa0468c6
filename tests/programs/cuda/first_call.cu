// Makes its first CUDA calls and prints their status by name: what a program sees when there is no
// GPU to be had.
#include "program.h"

int main() {
  int count = -1;
  cudaError_t status = cudaGetDeviceCount(&count);
  void *p = nullptr;
  cudaError_t later = cudaMalloc(&p, 256);
  printf("%s %s\n", cudaGetErrorName(status), cudaGetErrorName(later));
  return status == cudaSuccess ? 0 : 5;
}
