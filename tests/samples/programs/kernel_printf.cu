// What kernels print comes out of the program's standard output by the time that a wait returns, in
// the order of each thread: after a synchronisation, a copy back, an event, of a stream's work.
#include "sample.h"
#include <algorithm>
#include <string>
#include <unistd.h>

__global__ void greet(const char *word, double x) {
  printf("%s from block %d, thread %d\n", word, (int)blockIdx.x, (int)threadIdx.x);
  if (threadIdx.x == 0)
    printf("%5.2f|%-4u|%c|%llx%%\n", x, blockIdx.x, 'a' + blockIdx.x, 1ull << 40);
}

__global__ void many(int rows) {
  for (int i = 0; i < rows; i++) printf("row %06d of thread %04d\n", i, (int)threadIdx.x);
}

// Standard output while `work` runs.
template <class F> static std::string captured(F work) {
  std::fflush(stdout);
  FILE *file = std::tmpfile();
  int before = dup(STDOUT_FILENO);
  dup2(fileno(file), STDOUT_FILENO);
  work();
  std::fflush(stdout);
  dup2(before, STDOUT_FILENO);
  std::string text(lseek(fileno(file), 0, SEEK_END), ' ');
  EXPECT(pread(fileno(file), &text[0], text.size(), 0) == (ssize_t)text.size());
  std::fclose(file);
  close(before);
  return text;
}

static size_t count(const std::string &text, const std::string &part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at++) n++;
  return n;
}

int main() {
  std::vector<char> word{'h', 'e', 'l', 'l', 'o', 0};
  const char *d = to_device(word);
  std::string text = captured([&] {
    greet<<<2, 3>>>(d, 3.14159);
    CHECK(cudaDeviceSynchronize());
  });
  EXPECT(count(text, "\n") == 8);
  for (int i = 0; i < 6; i++) {
    char line[64];
    std::snprintf(line, sizeof line, "hello from block %d, thread %d\n", i / 3, i % 3);
    EXPECT(count(text, line) == 1);
  }
  EXPECT(count(text, " 3.14|0   |a|10000000000%\n") == 1 && count(text, " 3.14|1   |b|10") == 1);

  cudaStream_t s;
  cudaEvent_t done;
  CHECK(cudaStreamCreate(&s));
  CHECK(cudaEventCreate(&done));
  text = captured([&] {
    greet<<<1, 1, 0, s>>>(d, 1);
    CHECK(cudaEventRecord(done, s));
    CHECK(cudaEventSynchronize(done));
  });
  EXPECT(count(text, "\n") == 2);
  text = captured([&] {
    greet<<<1, 1>>>(d, 2);
    to_host(d, 1);
  });
  EXPECT(count(text, " 2.00|0") == 1);

  text = captured([&] {
    many<<<1, 32>>>(100);
    CHECK(cudaDeviceSynchronize());
  });
  EXPECT(count(text, "\n") == 3200 && text.size() == 3200 * 26);
  EXPECT(text.find("row 000010 of thread 0007") < text.find("row 000011 of thread 0007"));
  return verdict();
}
