// How long things take: stream priorities, and the simulated device of the settings.
#include <cstdlib>
#include <cstring>

#include "check.h"

__global__ void spin(long long *sink, int rounds) {
  long long x = threadIdx.x;
  for (int i = 0; i < rounds; i++) x = x * 6364136223846793005LL + 1442695040888963407LL;
  if (x == 42) *sink = x;
}

static float between(cudaEvent_t a, cudaEvent_t b) {
  float ms;
  CHECK(cudaEventSynchronize(b));
  CHECK(cudaEventElapsedTime(&ms, a, b));
  return ms;
}

static cudaEvent_t event_in(cudaStream_t stream) {
  cudaEvent_t event;
  CHECK(cudaEventCreate(&event));
  CHECK(cudaEventRecord(event, stream));
  return event;
}

/* Rounds that make a block take about a millisecond. */
static int rounds_of_a_millisecond(long long *sink) {
  int rounds = 1000;
  spin<<<20, 32>>>(sink, rounds); // compiled and loaded
  CHECK(cudaDeviceSynchronize());
  for (float ms = 0; ms < 20; rounds *= 2) {
    cudaEvent_t a = event_in(0);
    spin<<<20, 32>>>(sink, rounds);
    cudaEvent_t b = event_in(0);
    CHECK(cudaDeviceSynchronize());
    ms = between(a, b);
  }
  return rounds / 2;
}

/* A grid of the higher priority, launched after one of the lower, has its blocks started first. */
static void priorities(long long *sink) {
  int least, greatest, rounds = rounds_of_a_millisecond(sink);
  CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  REQUIRE(greatest < least);
  cudaStream_t low, high;
  CHECK(cudaStreamCreateWithPriority(&low, cudaStreamNonBlocking, least));
  CHECK(cudaStreamCreateWithPriority(&high, cudaStreamNonBlocking, greatest));
  cudaEvent_t start = event_in(low);
  spin<<<100, 32, 0, low>>>(sink, rounds);
  cudaEvent_t low_end = event_in(low);
  spin<<<100, 32, 0, high>>>(sink, rounds);
  cudaEvent_t high_end = event_in(high);
  CHECK(cudaDeviceSynchronize());
  float share = between(start, high_end) / between(start, low_end);
  printf("the urgent grid ended after %.2f of the time\n", share);
  REQUIRE(share < 0.75f); // 0.5 where it comes first, 1 where both share alike
}

/* REMORA_SOFTGPU_LAUNCH_US=20000, REMORA_SOFTGPU_SMS=4: 20 ms for each wave of a grid's blocks. */
static void simulated(long long *sink) {
  cudaStream_t s[4];
  for (cudaStream_t &stream : s) CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  spin<<<1, 32>>>(sink, 1);
  CHECK(cudaDeviceSynchronize());
  cudaEvent_t start = event_in(0);
  for (cudaStream_t stream : s) spin<<<1, 1024, 0, stream>>>(sink, 1); // one multiprocessor each
  CHECK(cudaDeviceSynchronize());
  float together = between(start, event_in(0));
  start = event_in(0);
  for (cudaStream_t stream : s) spin<<<4, 1024, 0, stream>>>(sink, 1); // the whole device each
  CHECK(cudaDeviceSynchronize());
  float in_turn = between(start, event_in(0));
  start = event_in(0);
  spin<<<9, 1024>>>(sink, 1); // three waves
  CHECK(cudaDeviceSynchronize());
  float waves = between(start, event_in(0));
  printf("together %.1f ms, in turn %.1f ms, three waves %.1f ms\n", together, in_turn, waves);
  REQUIRE(together >= 20 && together < 60);
  REQUIRE(in_turn >= 80);
  REQUIRE(waves >= 60);
}

/* REMORA_SOFTGPU_COPY_MIB_S=100: 4 MiB take 40 ms, and the directions don't share. */
static void copies() {
  const size_t bytes = 4 << 20;
  char *host, *device;
  cudaStream_t in, out;
  CHECK(cudaMallocHost(&host, 2 * bytes));
  CHECK(cudaMalloc(&device, 2 * bytes));
  CHECK(cudaStreamCreateWithFlags(&in, cudaStreamNonBlocking));
  CHECK(cudaStreamCreateWithFlags(&out, cudaStreamNonBlocking));
  cudaEvent_t start = event_in(0);
  CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, in));
  CHECK(cudaMemcpyAsync(host + bytes, device + bytes, bytes, cudaMemcpyDeviceToHost, out));
  CHECK(cudaDeviceSynchronize());
  float both = between(start, event_in(0));
  start = event_in(0);
  CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, in));
  CHECK(cudaMemcpyAsync(device + bytes, host, bytes, cudaMemcpyHostToDevice, out));
  CHECK(cudaDeviceSynchronize());
  float one_way = between(start, event_in(0));
  printf("in and out %.1f ms, twice in %.1f ms\n", both, one_way);
  REQUIRE(both >= 40 && both < 75);
  REQUIRE(one_way >= 80);
}

int main(int, char **arguments) {
  long long *sink;
  CHECK(cudaMalloc(&sink, sizeof *sink));
  if (!strcmp(arguments[1], "priorities")) priorities(sink);
  if (!strcmp(arguments[1], "simulated")) simulated(sink);
  if (!strcmp(arguments[1], "copies")) copies();
  puts("OK");
}
