// More calls than any queue holds, posted while a host function is still running: the callback's
// end must get through although the queue towards the device is full.
#include "program.h"
#include <atomic>
#include <chrono>
#include <thread>

static std::atomic<bool> started{false};

__global__ void count(unsigned *x) { x[0] += 1; }

static void CUDART_CB slow(void *) {
  started = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int launches = 60000;
  const size_t block = 32 << 10;
  unsigned *d;
  char *bulk;
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaMalloc(&d, 4));
  CHECK(cudaMalloc(&bulk, block));
  CHECK(cudaMemset(d, 0, 4));
  std::vector<char> bytes(block, 7);
  count<<<1, 1, 0, stream>>>(d);
  CHECK(cudaStreamSynchronize(stream));
  CHECK(cudaLaunchHostFunc(stream, slow, nullptr));
  while (!started) std::this_thread::yield();
  for (int i = 0; i < launches; i++) {
    count<<<1, 1, 0, stream>>>(d);
    if (i % 200 == 0)
      CHECK(cudaMemcpyAsync(bulk, bytes.data(), block, cudaMemcpyHostToDevice, stream));
  }
  CHECK(cudaStreamSynchronize(stream));
  unsigned total = 0;
  CHECK(cudaMemcpy(&total, d, 4, cudaMemcpyDeviceToHost));
  EXPECT(total == launches + 1);
  write_result(folder, "out.raw", &total, 1);
  puts("full_ring: done");
}
