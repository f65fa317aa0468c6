// Polls a stream and an event in tight loops until the work is done: many questions, few of them
// for the network.
#include "program.h"

__global__ void busy(unsigned *x, int turns) {
  unsigned v = threadIdx.x;
  for (int i = 0; i < turns; i++) v = v * 1664525u + 1013904223u;
  x[threadIdx.x] = v;
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int turns = 20000000, threads = 4;
  unsigned *d, out[threads];
  unsigned long long polls[2] = {0, 0};
  cudaStream_t stream;
  cudaEvent_t event;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaEventCreate(&event));
  CHECK(cudaMalloc(&d, sizeof out));
  cudaError_t status;
  busy<<<1, threads, 0, stream>>>(d, turns);
  while ((status = cudaStreamQuery(stream)) == cudaErrorNotReady) polls[0]++;
  CHECK(status);
  busy<<<1, threads, 0, stream>>>(d, turns);
  CHECK(cudaEventRecord(event, stream));
  while ((status = cudaEventQuery(event)) == cudaErrorNotReady) polls[1]++;
  CHECK(status);
  CHECK(cudaMemcpy(out, d, sizeof out, cudaMemcpyDeviceToHost));
  write_result(folder, "out.raw", out, threads);
  write_result(folder, "polls.raw", polls, 2);
  puts("query_loop: done");
}
