// Streams, events, pinned memory, host functions: order and overlap.
#include "check.h"
#include <atomic>
#include <chrono>
#include <thread>

__global__ void scale(int *x, int n, int by) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) x[i] *= by;
}

static std::atomic<int> order{0};
static void host(void *slot) { *(int *)slot = ++order; }
static void callback(cudaStream_t, cudaError_t status, void *slot) {
  *(int *)slot = status == cudaSuccess ? ++order : -1;
}
static void nap(void *) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

static void order_in_a_stream(cudaStream_t s, int *pinned, int *device, int n) {
  int first = 0, second = 0;
  for (int i = 0; i < n; i++) pinned[i] = i;
  CHECK(cudaMemcpyAsync(device, pinned, n * sizeof(int), cudaMemcpyHostToDevice, s));
  scale<<<(n + 127) / 128, 128, 0, s>>>(device, n, 3);
  CHECK(cudaLaunchHostFunc(s, host, &first));
  CHECK(cudaStreamAddCallback(s, callback, &second, 0));
  CHECK(cudaMemcpyAsync(pinned, device, n * sizeof(int), cudaMemcpyDeviceToHost, s));
  CHECK(cudaStreamSynchronize(s));
  REQUIRE(first == 1 && second == 2);
  for (int i = 0; i < n; i++) REQUIRE(pinned[i] == 3 * i);
}

static void event_between_streams(cudaStream_t a, cudaStream_t b, int *device, int n) {
  cudaEvent_t start, end;
  float ms;
  int value;
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&end));
  CHECK(cudaMemset(device, 0, n * sizeof(int)));
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaEventRecord(start, a));
  CHECK(cudaLaunchHostFunc(a, nap, nullptr));
  CHECK(cudaMemsetAsync(device, 1, n * sizeof(int), a));
  CHECK(cudaEventRecord(end, a));
  REQUIRE(cudaEventQuery(end) == cudaErrorNotReady);
  CHECK(cudaStreamWaitEvent(b, end, 0));
  scale<<<(n + 127) / 128, 128, 0, b>>>(device, n, 2);
  CHECK(cudaStreamSynchronize(b));
  CHECK(cudaEventElapsedTime(&ms, start, end));
  REQUIRE(ms >= 49 && ms < 5000);
  CHECK(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
  REQUIRE(value == 0x02020202);
}

// Work in the default stream waits for blocking streams and they for it; non-blocking ones don't.
static void default_stream(cudaStream_t blocking, int *device) {
  cudaStream_t free_running;
  int one = 0, two = 0, three = 0;
  order = 0;
  CHECK(cudaStreamCreateWithFlags(&free_running, cudaStreamNonBlocking));
  CHECK(cudaLaunchHostFunc(blocking, nap, nullptr));
  CHECK(cudaLaunchHostFunc(blocking, host, &one));
  CHECK(cudaMemsetAsync(device, 7, 4, 0));
  CHECK(cudaLaunchHostFunc(0, host, &two));
  CHECK(cudaLaunchHostFunc(free_running, host, &three));
  CHECK(cudaStreamSynchronize(free_running));
  REQUIRE(three == 1);
  CHECK(cudaStreamSynchronize(0));
  REQUIRE(one == 2 && two == 3);
  CHECK(cudaStreamDestroy(free_running));
}

int main() {
  const int n = 1 << 16;
  int *pinned, *device;
  cudaStream_t a, b;
  CHECK(cudaMallocHost(&pinned, n * sizeof(int)));
  CHECK(cudaMalloc(&device, n * sizeof(int)));
  CHECK(cudaStreamCreate(&a));
  CHECK(cudaStreamCreateWithPriority(&b, cudaStreamDefault, -1));
  order_in_a_stream(a, pinned, device, n);
  event_between_streams(a, b, device, n);
  default_stream(a, device);
  CHECK(cudaStreamQuery(a));
  CHECK(cudaStreamDestroy(a));
  CHECK(cudaStreamDestroy(b));
  CHECK(cudaFreeHost(pinned));
  std::puts("OK");
}
