// Zooms into the Mandelbrot set frame by frame, bringing each frame back; then times copies both
// ways. Prints, as "name value" lines, what it measured by its own clock.
#include "program.h"
#include <chrono>

static double now_ms() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

__global__ void mandelbrot(unsigned short *out, int width, int height, double left, double top,
                           double step, int limit) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= width * height) return;
  double cx = left + (i % width) * step, cy = top + (i / width) * step, x = 0, y = 0;
  int turn = 0;
  while (turn < limit && x * x + y * y <= 4.0) {
    double next = x * x - y * y + cx;
    y = 2.0 * x * y + cy;
    x = next;
    turn++;
  }
  out[i] = (unsigned short)turn;
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  const int width = 320, height = 200, limit = 200, frames = argc > 2 ? atoi(argv[2]) : 24;
  const double centre_x = -0.743643887, centre_y = 0.131825904;
  const size_t bulk = 32 << 20;
  double begin = now_ms();
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  printf("device %s\n", properties.name);
  unsigned short *d;
  size_t bytes = width * height * sizeof *d;
  CHECK(cudaMalloc(&d, bytes));
  std::vector<unsigned short> frame(width * height), first;
  double step = 3.2 / width, ready = now_ms();
  printf("start_ms %.1f\n", ready - begin);
  for (int f = 0; f < frames; f++) {
    mandelbrot<<<(width * height + 127) / 128, 128>>>(d, width, height, centre_x - step * width / 2,
                                                      centre_y - step * height / 2, step, limit);
    CHECK(cudaMemcpy(frame.data(), d, bytes, cudaMemcpyDeviceToHost));
    if (f == 0) printf("first_frame_ms %.1f\n", now_ms() - ready), ready = now_ms(), first = frame;
    step *= 0.8;
  }
  double frames_ms = now_ms() - ready;
  unsigned long long sum = 0;
  for (auto x : frame) sum += x;
  printf("other_frames_ms %.1f\nseconds %.6f\nchecksum %llu\n", frames_ms, frames_ms / 1e3, sum);
  write_result(folder, "first.raw", first);

  std::vector<unsigned> big(bulk / 4), back(bulk / 4);
  unsigned state = 1;
  for (auto &x : big) x = state = state * 1664525u + 1013904223u;
  for (auto &x : back) x = 1;
  unsigned *store;
  CHECK(cudaMalloc(&store, bulk));
  CHECK(cudaMemset(store, 0, bulk));
  CHECK(cudaDeviceSynchronize());
  double t0 = now_ms();
  CHECK(cudaMemcpy(store, big.data(), bulk, cudaMemcpyHostToDevice));
  CHECK(cudaDeviceSynchronize());
  double t1 = now_ms();
  CHECK(cudaMemcpy(back.data(), store, bulk, cudaMemcpyDeviceToHost));
  double t2 = now_ms();
  EXPECT(back == big);
  printf("upload_mb_s %.0f\ndownload_mb_s %.0f\n", bulk / 1e3 / (t1 - t0), bulk / 1e3 / (t2 - t1));
  CHECK(cudaFree(store));
  CHECK(cudaFree(d));
}
