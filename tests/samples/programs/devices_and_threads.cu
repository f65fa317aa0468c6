// Devices and host threads: properties, occupancy, work on every device, copies between devices,
// threads with default streams of their own.
#include "sample.h"
#include <thread>

__global__ void scale(float *x, float by, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] *= by;
}

static void properties(int device) {
  cudaDeviceProp p;
  int value, version;
  CHECK(cudaGetDeviceProperties(&p, device));
  EXPECT(p.name[0] && p.warpSize == 32 && p.maxThreadsPerBlock == 1024 &&
         p.multiProcessorCount > 0);
  EXPECT(p.major >= 5 && p.totalGlobalMem > 0 && p.sharedMemPerBlock >= 48 << 10 &&
         p.regsPerBlock > 0);
  EXPECT(p.maxThreadsDim[2] == 64 && p.maxGridSize[0] == 2147483647 && p.maxGridSize[1] == 65535);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, device));
  EXPECT(value == p.major);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device));
  EXPECT(value == p.multiProcessorCount);
  CHECK(cudaDriverGetVersion(&version));
  EXPECT(version >= 12000);
  CHECK(cudaRuntimeGetVersion(&version));
  EXPECT(version == CUDART_VERSION);
  char id[32];
  CHECK(cudaDeviceGetPCIBusId(id, sizeof id, device));
  CHECK(cudaDeviceGetByPCIBusId(&value, id));
  EXPECT(value == device);
}

static void occupancy() {
  int blocks = 0, grid = 0, block = 0;
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, scale, 256, 0));
  EXPECT(blocks >= 1 && blocks <= 32);
  CHECK(cudaOccupancyMaxPotentialBlockSize(&grid, &block, scale, 0, 0));
  EXPECT(grid >= 1 && block >= 32 && block <= 1024 && block % 32 == 0);
  cudaFuncAttributes a;
  CHECK(cudaFuncGetAttributes(&a, scale));
  EXPECT(a.maxThreadsPerBlock >= 256 && a.sharedSizeBytes == 0 && a.numRegs > 0 &&
         a.ptxVersion >= 50);
  CHECK(cudaFuncSetCacheConfig(scale, cudaFuncCachePreferL1));
}

static void work(int device, float by, int rounds, int *wrong) {
  const int n = 5000;
  CHECK(cudaSetDevice(device));
  std::vector<float> x(n);
  for (int i = 0; i < n; i++) x[i] = i;
  cudaStream_t s;
  CHECK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  float *d = zeros_on_device<float>(n);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpyAsync(d, x.data(), n * sizeof(float), cudaMemcpyHostToDevice, s));
  for (int r = 0; r < rounds; r++) {
    scale<<<4, 64, 0, s>>>(d, by, n);
    scale<<<4, 64, 0, s>>>(d, 1 / by, n);
  }
  scale<<<4, 64, 0, s>>>(d, by, n);
  CHECK(cudaStreamSynchronize(s));
  auto got = to_host(d, n);
  for (int i = 0; i < n; i++) *wrong += got[i] != i * by;
  CHECK(cudaFree(d));
  CHECK(cudaStreamDestroy(s));
  int current = -1;
  CHECK(cudaGetDevice(&current));
  *wrong += current != device;
}

int main() {
  int devices = 0, wrong[8] = {};
  CHECK(cudaGetDeviceCount(&devices));
  std::printf("%d devices\n", devices);
  for (int d = 0; d < devices; d++) properties(d);
  occupancy();
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; t++)
    threads.emplace_back(work, t % devices, (float)(1 << t), 10, &wrong[t]);
  for (auto &t : threads) t.join();
  for (int w : wrong) EXPECT(w == 0);
  CHECK(cudaSetDevice(0));
  CHECK(cudaDeviceReset());
  work(0, 2, 1, &wrong[7]);
  EXPECT(wrong[7] == 0);
  return verdict();
}
