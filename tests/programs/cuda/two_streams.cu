// Two streams work on halves of one array, each waiting for the other's half by event before a last
// pass.
#include "program.h"

__global__ void scale(float *x, int n, float factor) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] *= factor;
}

__global__ void add_other(float *x, const float *other, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] += other[i];
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int n = 1 << 19, rounds = 4;
  float *host, *out, *dev[2], *copy[2];
  cudaStream_t stream[2];
  cudaEvent_t scaled[2], begin, end;
  CHECK(cudaMallocHost(&host, 2 * n * sizeof(float)));
  CHECK(cudaMallocHost(&out, 2 * n * sizeof(float)));
  for (int i = 0; i < 2 * n; i++) host[i] = sample(i, 3);
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  for (int s = 0; s < 2; s++) {
    CHECK(cudaStreamCreateWithFlags(&stream[s], cudaStreamNonBlocking));
    CHECK(cudaEventCreateWithFlags(&scaled[s], cudaEventDisableTiming));
    CHECK(cudaMalloc(&dev[s], n * sizeof(float)));
    CHECK(cudaMalloc(&copy[s], n * sizeof(float)));
  }
  CHECK(cudaEventRecord(begin, stream[0]));
  for (int s = 0; s < 2; s++)
    CHECK(cudaMemcpyAsync(dev[s], host + s * n, n * sizeof(float), cudaMemcpyHostToDevice,
                          stream[s]));
  for (int round = 0; round < rounds; round++) {
    for (int s = 0; s < 2; s++) {
      scale<<<64, 256, 0, stream[s]>>>(dev[s], n, 0.5f);
      CHECK(
          cudaMemcpyAsync(copy[s], dev[s], n * sizeof(float), cudaMemcpyDeviceToDevice, stream[s]));
      CHECK(cudaEventRecord(scaled[s], stream[s]));
    }
    for (int s = 0; s < 2; s++) {
      CHECK(cudaStreamWaitEvent(stream[s], scaled[1 - s], 0));
      add_other<<<64, 256, 0, stream[s]>>>(dev[s], copy[1 - s], n);
      CHECK(cudaEventRecord(scaled[s], stream[s]));
    }
    for (int s = 0; s < 2; s++) CHECK(cudaStreamWaitEvent(stream[s], scaled[1 - s], 0));
  }
  for (int s = 0; s < 2; s++)
    CHECK(
        cudaMemcpyAsync(out + s * n, dev[s], n * sizeof(float), cudaMemcpyDeviceToHost, stream[s]));
  CHECK(cudaStreamWaitEvent(stream[0], scaled[1], 0));
  CHECK(cudaEventRecord(end, stream[0]));
  CHECK(cudaEventSynchronize(end));
  CHECK(cudaStreamSynchronize(stream[1]));
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
  EXPECT(milliseconds > 0 && milliseconds < 100000);
  write_result(folder, "out.raw", out, 2 * n);
  for (int s = 0; s < 2; s++) {
    CHECK(cudaFree(dev[s]));
    CHECK(cudaFree(copy[s]));
    CHECK(cudaEventDestroy(scaled[s]));
    CHECK(cudaStreamDestroy(stream[s]));
  }
  CHECK(cudaFreeHost(host));
  CHECK(cudaFreeHost(out));
  puts("two_streams: done");
}
