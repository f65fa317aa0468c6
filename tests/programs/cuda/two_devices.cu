// Two threads, each on its own device, interleave launches and copies; neither may see the other's
// state.
#include "program.h"
#include <thread>

__global__ void step(float *x, int n, float add) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] * 0.5f + add;
}

static void work(int device, const char *folder) {
  const int n = 10000, rounds = 60;
  CHECK(cudaSetDevice(device));
  std::vector<float> x(n);
  for (int i = 0; i < n; i++) x[i] = sample(i, 10 + device);
  float *d;
  CHECK(cudaMalloc(&d, n * sizeof(float)));
  for (int round = 0; round < rounds; round++) {
    CHECK(cudaMemcpy(d, x.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    step<<<(n + 127) / 128, 128>>>(d, n, (float)(device + 1));
    CHECK(cudaMemcpy(x.data(), d, n * sizeof(float), cudaMemcpyDeviceToHost));
    int current = -1;
    CHECK(cudaGetDevice(&current));
    EXPECT(current == device);
  }
  CHECK(cudaFree(d));
  write_result(folder, device ? "one.raw" : "zero.raw", x);
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  int count = 0;
  CHECK(cudaGetDeviceCount(&count));
  EXPECT(count == 2);
  cudaDeviceProp first, second;
  CHECK(cudaGetDeviceProperties(&first, 0));
  CHECK(cudaGetDeviceProperties(&second, 1));
  EXPECT(memcmp(&first.uuid, &second.uuid, sizeof first.uuid) != 0);
  std::thread zero(work, 0, folder), one(work, 1, folder);
  zero.join();
  one.join();
  puts("two_devices: done");
}
