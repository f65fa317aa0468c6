// Forks while other threads launch and copy. The children must end by themselves, and harm nothing
// of the parent's.
#include "program.h"
#include <atomic>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

static std::atomic<bool> stop{false};

__global__ void step(float *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] * 0.5f + 1.0f;
}

static void load(float *out, int n, int *rounds) {
  float *d;
  CHECK(cudaMalloc(&d, n * sizeof(float)));
  CHECK(cudaMemset(d, 0, n * sizeof(float)));
  while (!stop || *rounds < 20) {
    step<<<(n + 127) / 128, 128>>>(d, n);
    CHECK(cudaMemcpy(out, d, n * sizeof(float), cudaMemcpyDeviceToHost));
    (*rounds)++;
  }
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int threads = 2, n = 4096, children = 8;
  std::vector<std::vector<float>> out(threads, std::vector<float>(n));
  std::vector<int> rounds(threads, 0);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; t++) all.emplace_back(load, out[t].data(), n, &rounds[t]);
  while (rounds[0] < 2) usleep(1000);
  for (int c = 0; c < children; c++) {
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      alarm(20);
      if (c % 4 == 0) _exit(0);
      if (c % 4 == 1) execlp("true", "true", (char *)nullptr);
      int count;
      cudaError_t status = cudaDeviceSynchronize();
      if (c % 4 == 2 && status == cudaSuccess)
        _exit(3); // CUDA in a forked child is an error, not a hang
      cudaGetDeviceCount(&count);
      exit(0); // runs the exit handlers with the parent's handles
    }
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  for (auto &thread : all) thread.join();
  std::vector<float> last;
  for (auto &v : out) last.insert(last.end(), v.begin(), v.end());
  write_result(folder, "out.raw", last);
  write_result(folder, "rounds.raw", rounds);
  puts("fork_under_load: done");
}
