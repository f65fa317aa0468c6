// Built with --default-stream per-thread: each thread's default stream is its own, ordered only in
// itself.
#include "program.h"
#include <thread>

__global__ void accumulate(float *x, int n, float value) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] * 0.5f + value;
}

static void work(int number, float *pinned, int n) {
  float *d;
  CHECK(cudaMalloc(&d, n * sizeof(float)));
  CHECK(cudaMemcpyAsync(d, pinned, n * sizeof(float), cudaMemcpyHostToDevice, 0));
  for (int round = 0; round < 50; round++)
    accumulate<<<(n + 127) / 128, 128>>>(d, n, (float)number);
  CHECK(cudaMemcpyAsync(pinned, d, n * sizeof(float), cudaMemcpyDeviceToHost, 0));
  CHECK(cudaStreamSynchronize(0));
  CHECK(cudaFree(d));
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int threads = 4, n = 5000;
  float *pinned;
  CHECK(cudaMallocHost(&pinned, threads * n * sizeof(float)));
  for (int i = 0; i < threads * n; i++) pinned[i] = sample(i, 5);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; t++) all.emplace_back(work, t, pinned + t * n, n);
  for (auto &thread : all) thread.join();
  write_result(folder, "out.raw", pinned, threads * n);
  CHECK(cudaFreeHost(pinned));
  puts("per_thread_streams: done");
}
