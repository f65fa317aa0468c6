// Devices that use each other's memory: allocated before and after access was enabled, variables,
// pools; what is enabled twice, not enabled, or forgotten by a reset.
#include "sample.h"

__device__ int variable;

__global__ void store(int *at, int value, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) at[i] = value + i;
}
__global__ void sum(const int *x, int n, int *out) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(out, x[i]);
}

static cudaError_t last(cudaError_t status) {
  cudaGetLastError();
  return status;
}

static bool holds(const int *d, int value, int n) {
  auto got = to_host(d, n);
  for (int i = 0; i < n; i++)
    if (got[i] != value + i) return false;
  return true;
}

static void direct_access() {
  const int n = 1 << 20, total = 1000;
  int *before, *after, *var;
  CHECK(cudaSetDevice(1));
  CHECK(cudaMalloc(&before, n * sizeof(int)));
  CHECK(cudaGetSymbolAddress((void **)&var, variable));
  CHECK(cudaSetDevice(0));
  EXPECT(last(cudaDeviceDisablePeerAccess(1)) == cudaErrorPeerAccessNotEnabled);
  EXPECT(last(cudaDeviceEnablePeerAccess(0, 0)) != cudaSuccess);
  EXPECT(last(cudaDeviceEnablePeerAccess(1, 7)) == cudaErrorInvalidValue);
  CHECK(cudaDeviceEnablePeerAccess(1, 0));
  EXPECT(last(cudaDeviceEnablePeerAccess(1, 0)) == cudaErrorPeerAccessAlreadyEnabled);
  CHECK(cudaSetDevice(1));
  CHECK(cudaMalloc(&after, n * sizeof(int)));
  CHECK(cudaSetDevice(0));
  store<<<1, 256>>>(before, 10, n);
  store<<<1, 256>>>(after, 20, n);
  store<<<1, 1>>>(var, 30, 1);
  CHECK(cudaDeviceSynchronize());
  EXPECT(holds(before, 10, n) && holds(after, 20, n) && holds(var, 30, 1));
  int *out = zeros_on_device<int>(1);
  sum<<<1, 128>>>(before, total, out);
  EXPECT(to_host(out, 1)[0] == total * 10 + total * (total - 1) / 2);
  CHECK(cudaDeviceDisablePeerAccess(1));
  CHECK(cudaDeviceEnablePeerAccess(1, 0));
  CHECK(cudaFree(before)); // of device 1
  CHECK(cudaFree(after));
}

static void through_a_pool() {
  const int n = 5000;
  cudaMemPoolProps props = {};
  props.allocType = cudaMemAllocationTypePinned;
  props.location = {cudaMemLocationTypeDevice, 1};
  cudaMemPool_t pool;
  CHECK(cudaMemPoolCreate(&pool, &props));
  cudaMemAccessDesc zero = {{cudaMemLocationTypeDevice, 0}, cudaMemAccessFlagsProtReadWrite};
  CHECK(cudaMemPoolSetAccess(pool, &zero, 1));
  cudaMemAccessFlags flags;
  CHECK(cudaMemPoolGetAccess(&flags, pool, &zero.location));
  EXPECT(flags == cudaMemAccessFlagsProtReadWrite);
  cudaStream_t stream;
  CHECK(cudaSetDevice(1));
  CHECK(cudaStreamCreate(&stream));
  int *x;
  CHECK(cudaMallocFromPoolAsync(&x, n * sizeof(int), pool, stream));
  CHECK(cudaStreamSynchronize(stream));
  CHECK(cudaSetDevice(0));
  store<<<1, 256>>>(x, 5, n);
  CHECK(cudaDeviceSynchronize());
  EXPECT(holds(x, 5, n));
  CHECK(cudaFreeAsync(x, stream));
  CHECK(cudaStreamSynchronize(stream));
  CHECK(cudaMemPoolDestroy(pool));
}

int main() {
  int devices = 0, able = 0, self = 1, value = -1;
  CHECK(cudaGetDeviceCount(&devices));
  if (devices > 1) CHECK(cudaDeviceCanAccessPeer(&able, 0, 1));
  CHECK(cudaDeviceCanAccessPeer(&self, 0, 0));
  EXPECT(!self);
  std::printf("%d devices, peers: %d\n", devices, able);
  if (!able) return verdict();
  CHECK(cudaDeviceGetP2PAttribute(&value, cudaDevP2PAttrAccessSupported, 0, 1));
  EXPECT(value == 1);
  direct_access();
  through_a_pool();
  CHECK(cudaDeviceReset()); // forgets what was enabled
  CHECK(cudaDeviceEnablePeerAccess(1, 0));
  return verdict();
}
