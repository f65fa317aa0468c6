// Bulk data both ways at once: one thread uploads while another downloads. Neither direction may
// block the other.
#include "program.h"
#include <thread>

static const size_t BYTES = 8 << 20;
static const int ROUNDS = 4;

static void fill(std::vector<unsigned> &v, unsigned seed) {
  unsigned state = seed;
  for (auto &x : v) x = state = state * 1664525u + 1013904223u;
}

static void upload(unsigned *d, const std::vector<unsigned> *v) {
  for (int round = 0; round < ROUNDS; round++)
    CHECK(cudaMemcpy(d, v->data(), BYTES, cudaMemcpyHostToDevice));
}

static void download(std::vector<unsigned> *v, const unsigned *d) {
  for (int round = 0; round < ROUNDS; round++) {
    memset(v->data(), 0, BYTES);
    CHECK(cudaMemcpy(v->data(), d, BYTES, cudaMemcpyDeviceToHost));
  }
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  std::vector<unsigned> up(BYTES / 4), down(BYTES / 4), check(BYTES / 4);
  unsigned *a, *b;
  CHECK(cudaMalloc(&a, BYTES));
  CHECK(cudaMalloc(&b, BYTES));
  fill(up, 11);
  fill(check, 12);
  CHECK(cudaMemcpy(b, check.data(), BYTES, cudaMemcpyHostToDevice));
  std::thread sender(upload, a, &up), receiver(download, &down, b);
  sender.join();
  receiver.join();
  EXPECT(down == check);
  CHECK(cudaMemcpy(down.data(), a, BYTES, cudaMemcpyDeviceToHost));
  EXPECT(down == up);
  write_result(folder, "out.raw", down);
  puts("both_ways: done");
}
