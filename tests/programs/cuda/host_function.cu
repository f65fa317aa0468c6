// copy out -> host function that rewrites the pinned buffer -> copy in, all queued before any of it
// has run.
#include "program.h"
#include <atomic>

static const int N = 1 << 16;
static std::atomic<int> calls{0};

__global__ void add_one(float *x, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] += 1.0f;
}

static void CUDART_CB twice(void *data) {
  float *x = (float *)data;
  for (int i = 0; i < N; i++) x[i] *= 2.0f;
  calls++;
}

static void CUDART_CB finished(cudaStream_t, cudaError_t status, void *data) {
  *(int *)data = status == cudaSuccess ? 1 : -1;
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int rounds = 8;
  float *pinned, *d;
  int seen = 0;
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaMallocHost(&pinned, N * sizeof(float)));
  CHECK(cudaMalloc(&d, N * sizeof(float)));
  for (int i = 0; i < N; i++) pinned[i] = sample(i, 7);
  for (int round = 0; round < rounds; round++) {
    CHECK(cudaMemcpyAsync(d, pinned, N * sizeof(float), cudaMemcpyHostToDevice, stream));
    add_one<<<32, 256, 0, stream>>>(d, N);
    CHECK(cudaMemcpyAsync(pinned, d, N * sizeof(float), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaLaunchHostFunc(stream, twice, pinned));
  }
  CHECK(cudaStreamAddCallback(stream, finished, &seen, 0));
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(calls == rounds);
  EXPECT(seen == 1);
  write_result(folder, "out.raw", pinned, N);
  puts("host_function: done");
}
