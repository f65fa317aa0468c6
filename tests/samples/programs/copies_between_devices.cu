// Copies from one device to another wait for what both have to do, and both wait for them; access
// to a peer's memory.
#include "sample.h"

__global__ void scale(float *x, float by, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] *= by;
}

__global__ void linger(long long ticks) {
  for (long long start = clock64(); clock64() - start < ticks;) {
  }
}

static void between(int from, int to) {
  const int n = 3001;
  int able = -1;
  auto x = random_reals(n), tripled = x;
  for (auto &v : tripled) v *= 3;
  CHECK(cudaDeviceCanAccessPeer(&able, from, to));
  CHECK(cudaSetDevice(from));
  float *a = to_device(x);
  linger<<<1, 1>>>(20000000);
  scale<<<4, 64>>>(a, 3, n);
  CHECK(cudaSetDevice(to));
  float *b = zeros_on_device<float>(n), *c = zeros_on_device<float>(n);
  CHECK(cudaMemcpyPeer(b, to, a, from, n * sizeof(float)));
  EXPECT(to_host(b, n) == tripled);
  CHECK(cudaMemcpy(c, a, n * sizeof(float), cudaMemcpyDefault));
  EXPECT(to_host(c, n) == tripled);
  cudaPointerAttributes at;
  CHECK(cudaPointerGetAttributes(&at, a));
  EXPECT(at.device == from);
  if (!able) return;
  CHECK(cudaSetDevice(from));
  cudaError_t enabled = cudaDeviceEnablePeerAccess(to, 0);
  EXPECT(enabled == cudaSuccess || enabled == cudaErrorPeerAccessAlreadyEnabled);
  cudaGetLastError();
  EXPECT(cudaDeviceEnablePeerAccess(to, 0) == cudaErrorPeerAccessAlreadyEnabled);
  cudaGetLastError();
  scale<<<4, 64>>>(b, 2, n);
  CHECK(cudaDeviceSynchronize());
  auto doubled = to_host(b, n);
  for (int i = 0; i < n; i++) EXPECT(doubled[i] == tripled[i] * 2);
}

int main() {
  int devices = 0;
  CHECK(cudaGetDeviceCount(&devices));
  for (int round = 0; round < 3 && devices > 1; round++) between(0, 1);
  return verdict();
}
