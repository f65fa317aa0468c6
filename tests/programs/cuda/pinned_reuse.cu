// A pinned buffer is the target of a device-to-host copy and at once the source of a host-to-device
// copy, all asynchronous on one stream: the second must carry what the first brought, not what lay
// there before.
#include "program.h"

__global__ void fill(float *x, int n, float value) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] = value + i % 97;
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int n = 1 << 18, rounds = 12;
  size_t bytes = n * sizeof(float);
  float *pinned, *from, *to;
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaMallocHost(&pinned, bytes));
  CHECK(cudaMalloc(&from, bytes));
  CHECK(cudaMalloc(&to, bytes));
  std::vector<float> out(n), all;
  for (int round = 0; round < rounds; round++) {
    memset(pinned, 0xee, bytes);
    fill<<<64, 256, 0, stream>>>(from, n, (float)round);
    CHECK(cudaMemcpyAsync(pinned, from, bytes, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaMemcpyAsync(to, pinned, bytes, cudaMemcpyHostToDevice, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpy(out.data(), to, bytes, cudaMemcpyDeviceToHost));
    all.insert(all.end(), out.begin(), out.begin() + 1000);
    all.insert(all.end(), out.end() - 1000, out.end());
  }
  write_result(folder, "out.raw", all);
  puts("pinned_reuse: done");
}
