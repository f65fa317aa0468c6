// Mapped pinned memory: the host fills one half while a kernel works on the other; pinned memory
// whose device address is asked for later; copies from and to it.
#include "sample.h"

__global__ void increment(int *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i]++;
}

int main() {
  const int n = 1000;
  int *m, *on_device;
  cudaStream_t a, b;
  CHECK(cudaStreamCreate(&a));
  CHECK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
  CHECK(cudaHostAlloc(&m, 2 * n * sizeof(int), cudaHostAllocMapped));
  CHECK(cudaHostGetDevicePointer(&on_device, m, 0));
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < n; i++) m[i] = round;
    increment<<<4, 256, 0, a>>>(on_device, n);
    for (int i = 0; i < n; i++) m[n + i] = 2 * round; // no wait between
    increment<<<4, 256, 0, b>>>(m + n, n);
    CHECK(cudaStreamSynchronize(a));
    EXPECT(m[0] == round + 1 && m[n - 1] == round + 1);
    m[0] = 50;
    CHECK(cudaStreamSynchronize(b));
    EXPECT(m[0] == 50 && m[n] == 2 * round + 1 && m[2 * n - 1] == 2 * round + 1);
  }
  increment<<<1, 1>>>(m, 1); // one address for both
  CHECK(cudaDeviceSynchronize());
  EXPECT(m[0] == 51);

  int *p, *d = zeros_on_device<int>(n);
  CHECK(cudaMallocHost(&p, n * sizeof(int)));
  p[0] = 3;
  CHECK(cudaHostGetDevicePointer(&on_device, p, 0));
  increment<<<1, 1, 0, a>>>(on_device, 1);
  CHECK(cudaMemcpyAsync(d, p, sizeof(int), cudaMemcpyHostToDevice, a)); // after the kernel
  CHECK(cudaStreamSynchronize(a));
  EXPECT(p[0] == 4 && to_host(d, 1)[0] == 4);
  increment<<<1, 1, 0, a>>>(d, 1);
  CHECK(cudaMemcpyAsync(p + 1, d, sizeof(int), cudaMemcpyDeviceToHost, a));
  increment<<<1, 1, 0, a>>>(on_device + 1, 1); // after the copy
  CHECK(cudaStreamSynchronize(a));
  EXPECT(p[0] == 4 && p[1] == 6);
  int *q; // one address space: the host's own address will do
  CHECK(cudaMallocHost(&q, n * sizeof(int)));
  for (int i = 0; i < n; i++) q[i] = i;
  increment<<<4, 256>>>(q + 1, n - 1);
  CHECK(cudaDeviceSynchronize());
  EXPECT(q[0] == 0 && q[1] == 2 && q[n - 1] == n);
  CHECK(cudaFreeHost(q));
  cudaPointerAttributes told;
  CHECK(cudaPointerGetAttributes(&told, p));
  EXPECT(told.type == cudaMemoryTypeHost && told.hostPointer == p);
  EXPECT(told.devicePointer == on_device);
  CHECK(cudaFreeHost(p));
  CHECK(cudaFreeHost(m));
  return verdict();
}
