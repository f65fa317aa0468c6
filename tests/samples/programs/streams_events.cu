// Streams: order within one, independence of several, waits between them, events, host functions,
// priorities, the default stream's rules.
#include "sample.h"
#include <atomic>

__global__ void fill(int *x, int value, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] = value;
}

__global__ void add(int *x, const int *y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    x[i] += y[i];
}

// Waits for another kernel: both must run at once.
__global__ void handshake(volatile int *mine, volatile int *theirs, int *met) {
  *mine = 1;
  for (long long start = clock64(); !*theirs;)
    if (clock64() - start > 40000000000ll) return;
  *met = 1;
}

static void pipeline() {
  const int streams = 4, n = 20000;
  cudaStream_t s[streams];
  int *host, *back, *device;
  CHECK(cudaMallocHost(&host, streams * n * sizeof(int)));
  CHECK(cudaHostAlloc(&back, streams * n * sizeof(int), cudaHostAllocDefault));
  CHECK(cudaMalloc(&device, 2 * streams * n * sizeof(int)));
  for (int i = 0; i < streams * n; i++) host[i] = i;
  for (auto &stream : s) CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  for (int i = 0; i < streams; i++) {
    int *x = device + 2 * i * n, *y = x + n;
    CHECK(cudaMemcpyAsync(x, host + i * n, n * sizeof(int), cudaMemcpyHostToDevice, s[i]));
    fill<<<8, 128, 0, s[i]>>>(y, 1000 * i, n);
    add<<<8, 128, 0, s[i]>>>(x, y, n);
    CHECK(cudaMemcpyAsync(back + i * n, x, n * sizeof(int), cudaMemcpyDeviceToHost, s[i]));
  }
  for (int i = 0; i < streams; i++) {
    CHECK(cudaStreamSynchronize(s[i]));
    CHECK(cudaStreamQuery(s[i]));
    int wrong = 0;
    for (int j = 0; j < n; j++) wrong += back[i * n + j] != i * n + j + 1000 * i;
    EXPECT(wrong == 0);
    CHECK(cudaStreamDestroy(s[i]));
  }
  CHECK(cudaFreeHost(host));
  CHECK(cudaFreeHost(back));
  CHECK(cudaFree(device));
}

static std::atomic<int> order{0};
static void CUDART_CB note(void *slot) { *(int *)slot = ++order; }
static void CUDART_CB after(cudaStream_t, cudaError_t status, void *slot) {
  *(int *)slot = status == cudaSuccess ? ++order : -1;
}

static void waits() {
  cudaStream_t a, b;
  cudaEvent_t start, done;
  int *x, at[3] = {}, n = 1 << 16;
  float ms = -1;
  CHECK(cudaStreamCreate(&a));
  CHECK(cudaStreamCreate(&b));
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&done));
  EXPECT(cudaEventQuery(done) == cudaSuccess); // never recorded
  CHECK(cudaMalloc(&x, n * sizeof(int)));
  CHECK(cudaEventRecord(start, a));
  fill<<<16, 128, 0, a>>>(x, 5, n);
  CHECK(cudaLaunchHostFunc(a, note, &at[0]));
  CHECK(cudaEventRecord(done, a));
  CHECK(cudaStreamWaitEvent(b, done, 0));
  CHECK(cudaLaunchHostFunc(b, note, &at[1]));
  add<<<16, 128, 0, b>>>(x, x, n);
  CHECK(cudaStreamAddCallback(b, after, &at[2], 0));
  CHECK(cudaStreamSynchronize(b));
  EXPECT(at[0] == 1 && at[1] == 2 && at[2] == 3);
  EXPECT(to_host(x, n) == std::vector<int>(n, 10));
  CHECK(cudaEventSynchronize(done));
  CHECK(cudaEventElapsedTime(&ms, start, done));
  EXPECT(ms >= 0 && ms < 10000);
  fill<<<16, 128, 0, a>>>(x, 1, n); // blocking streams and the default stream wait for each other
  fill<<<16, 128>>>(x, 2, n);
  fill<<<16, 128, 0, b>>>(x, 3, n);
  EXPECT(to_host(x, n) == std::vector<int>(n, 3));
  cudaEvent_t untimed;
  CHECK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
  CHECK(cudaEventRecord(untimed, a));
  EXPECT(cudaEventElapsedTime(&ms, start, untimed) == cudaErrorInvalidResourceHandle);
  EXPECT(cudaGetLastError() == cudaErrorInvalidResourceHandle);
}

static void at_once() {
  int least, greatest, priority;
  CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  EXPECT(greatest <= least);
  cudaStream_t low, high;
  CHECK(cudaStreamCreateWithPriority(&low, cudaStreamNonBlocking, least));
  CHECK(cudaStreamCreateWithPriority(&high, cudaStreamNonBlocking, greatest));
  CHECK(cudaStreamGetPriority(high, &priority));
  EXPECT(priority == greatest);
  int *flags = zeros_on_device<int>(4);
  handshake<<<1, 1, 0, low>>>(flags, flags + 1, flags + 2);
  handshake<<<1, 1, 0, high>>>(flags + 1, flags, flags + 3);
  CHECK(cudaDeviceSynchronize());
  EXPECT(to_host(flags, 4) == std::vector<int>(4, 1));
}

int main() {
  pipeline();
  waits();
  at_once();
  return verdict();
}
