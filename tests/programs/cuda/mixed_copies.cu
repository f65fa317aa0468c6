// Threads that copy at once in every way there is (pinned and pageable, waited for or not, with
// host functions between), of all sizes; each thread checks every byte of its own.
#include "program.h"
#include <chrono>
#include <random>
#include <thread>

static const size_t MOST = 12 << 20;

static void counts(void *count) { ++*(volatile int *)count; }

struct Memory {
  unsigned *pinned;
  std::vector<unsigned> pageable;

  Memory() : pageable(MOST / 4) { CHECK(cudaMallocHost(&pinned, MOST)); }
  unsigned *choose(bool any) { return any ? pinned : pageable.data(); }
};

static void copy(unsigned *device, unsigned *to, const unsigned *from, size_t bytes, int kind,
                 cudaStream_t stream) {
  static thread_local int calls;
  if (kind >= 4) CHECK(cudaLaunchHostFunc(stream, counts, &calls));
  CHECK(cudaMemcpyAsync(device, from, bytes, cudaMemcpyHostToDevice, stream));
  if (kind % 3 == 0) CHECK(cudaStreamSynchronize(stream));
  CHECK(cudaMemcpyAsync(to, device, bytes, cudaMemcpyDeviceToHost, stream));
  CHECK(cudaStreamSynchronize(stream));
}

static void work(unsigned seed, double seconds) {
  using clock = std::chrono::steady_clock;
  std::mt19937 random(seed);
  Memory source, target;
  cudaStream_t stream;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  auto end = clock::now() + std::chrono::duration<double>(seconds);
  while (clock::now() < end) {
    size_t n = random() % ((random() % 2 ? MOST : 200 << 10) / 4) + 1;
    int kind = random() % 6;
    unsigned value = random(), *from = source.choose(kind & 1), *to = target.choose(kind & 2);
    for (size_t i = 0; i < n; i++) from[i] = value + i, to[i] = 0;
    unsigned *device;
    CHECK(kind & 1 ? cudaMallocAsync(&device, n * 4, stream) : cudaMalloc(&device, n * 4));
    copy(device, to, from, n * 4, kind, stream);
    for (size_t i = 0; i < n; i++) EXPECT(to[i] == value + (unsigned)i);
    CHECK(kind & 1 ? cudaFreeAsync(device, stream) : cudaFree(device));
  }
}

int main(int argc, char **argv) {
  double seconds = argc > 2 ? atof(argv[2]) : 4;
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 3; seed++) threads.emplace_back(work, seed, seconds);
  for (auto &thread : threads) thread.join();
  puts("mixed_copies: done");
}
