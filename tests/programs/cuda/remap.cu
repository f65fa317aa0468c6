// Host memory is unmapped and mapped anew at the same address between copies: nothing may remember
// the old page.
#include "program.h"
#include <sys/mman.h>

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const size_t bytes = 2 << 20;
  const int rounds = 6;
  unsigned char *d;
  CHECK(cudaMalloc(&d, bytes));
  void *address = nullptr;
  std::vector<unsigned char> seen(bytes), heads;
  for (int round = 0; round < rounds; round++) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (address ? MAP_FIXED_NOREPLACE : 0);
    void *page = mmap(address, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    EXPECT(page != MAP_FAILED && (!address || page == address));
    address = page;
    memset(page, round + 1, bytes);
    bool registered = round % 2 == 1;
    if (registered) CHECK(cudaHostRegister(page, bytes, cudaHostRegisterDefault));
    if (registered)
      CHECK(cudaMemcpyAsync(d, page, bytes, cudaMemcpyHostToDevice, 0));
    else
      CHECK(cudaMemcpy(d, page, bytes, cudaMemcpyHostToDevice));
    if (registered) CHECK(cudaDeviceSynchronize());
    if (registered) CHECK(cudaHostUnregister(page));
    EXPECT(munmap(page, bytes) == 0);
    CHECK(cudaMemcpy(seen.data(), d, bytes, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < bytes; i++) EXPECT(seen[i] == round + 1);
    heads.push_back(seen[0]);
  }
  write_result(folder, "out.raw", heads);
  puts("remap: done");
}
