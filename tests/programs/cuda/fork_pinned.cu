// Forks with pinned memory that copies are under way from and to. The child has its own memory, the
// parent's copies go on with the parent's.
#include "program.h"
#include <sys/wait.h>
#include <unistd.h>

static void child(unsigned *in, size_t n) {
  alarm(20);
  for (size_t i = 0; i < n; i++) in[i] = 0xdeadbeef; // its own copy of it
  _exit(0);
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const size_t n = 1 << 20;
  const unsigned rounds = 4;
  unsigned *in, *out, *d;
  CHECK(cudaMallocHost(&in, n * sizeof *in));
  CHECK(cudaMallocHost(&out, n * sizeof *out));
  CHECK(cudaMalloc(&d, n * sizeof *d));
  std::vector<unsigned> sums;
  for (unsigned round = 0; round < rounds; round++) {
    for (size_t i = 0; i < n; i++) in[i] = (unsigned)i * 3 + round;
    CHECK(cudaMemcpyAsync(d, in, n * sizeof *d, cudaMemcpyHostToDevice));
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) child(in, n);
    CHECK(cudaMemcpyAsync(out, d, n * sizeof *d, cudaMemcpyDeviceToHost));
    CHECK(cudaDeviceSynchronize());
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
      EXPECT(out[i] == (unsigned)i * 3 + round);
      sum += out[i];
    }
    sums.push_back(sum);
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  CHECK(cudaFreeHost(in));
  CHECK(cudaFreeHost(out));
  write_result(folder, "sums.raw", sums);
  puts("fork_pinned: done");
}
