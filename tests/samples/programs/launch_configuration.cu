// A grid or a block beyond the device's limits: the launch fails with an invalid configuration, at
// once.
#include "sample.h"

__global__ void store(int *p) { *p = 1; }

int main() {
  int *d = zeros_on_device<int>(1);
  store<<<1, 2048>>>(d);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  store<<<0, 1>>>(d);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  store<<<dim3(1, 70000), 1>>>(d);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  store<<<1, dim3(1, 1, 65)>>>(d);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  EXPECT(to_host(d, 1)[0] == 0);
  return verdict();
}
