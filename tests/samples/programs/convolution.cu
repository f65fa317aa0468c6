// Convolution with a filter in constant memory: in one dimension, separable in two, with halos in
// shared memory.
#include "sample.h"

static const int RADIUS = 4, TAPS = 2 * RADIUS + 1, WIDTH = 32, HEIGHT = 8;
__constant__ float filter[TAPS];
static __constant__ const int edges[4] = {1, 0, -1, 7};

__global__ void line(const float *in, float *out, int n) {
  extern __shared__ float part[];
  int first = blockIdx.x * blockDim.x - RADIUS;
  for (int i = threadIdx.x; i < blockDim.x + 2 * RADIUS; i += blockDim.x) {
    int from = first + i;
    part[i] = from >= 0 && from < n ? in[from] : 0.0f;
  }
  __syncthreads();
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int k = 0; k < TAPS; k++) sum += filter[k] * part[threadIdx.x + k];
  out[i] = sum;
}

template <bool ROWS> __global__ void separable(const float *in, float *out, int width, int height) {
  __shared__ float tile[HEIGHT + (ROWS ? 0 : 2 * RADIUS)][WIDTH + (ROWS ? 2 * RADIUS : 0)];
  int left = blockIdx.x * WIDTH - (ROWS ? RADIUS : 0),
      top = blockIdx.y * HEIGHT - (ROWS ? 0 : RADIUS);
  const int tall = sizeof tile / sizeof tile[0], wide = sizeof tile[0] / sizeof(float);
  for (int y = threadIdx.y; y < tall; y += HEIGHT)
    for (int x = threadIdx.x; x < wide; x += WIDTH) {
      int column = min(max(left + x, 0), width - 1), row = min(max(top + y, 0), height - 1);
      tile[y][x] = in[row * width + column];
    }
  __syncthreads();
  int x = blockIdx.x * WIDTH + threadIdx.x, y = blockIdx.y * HEIGHT + threadIdx.y;
  if (x >= width || y >= height) return;
  float sum = 0;
#pragma unroll
  for (int k = 0; k < TAPS; k++)
    sum += filter[k] *
           (ROWS ? tile[threadIdx.y][threadIdx.x + k] : tile[threadIdx.y + k][threadIdx.x]);
  out[y * width + x] = sum;
}

__global__ void initialised(int *out) { out[threadIdx.x] = edges[threadIdx.x]; }

static std::vector<float> smooth(const std::vector<float> &in, const float *f, int w, int h,
                                 bool rows) {
  std::vector<float> out(in.size());
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      for (int k = -RADIUS; k <= RADIUS; k++) {
        int c = std::min(std::max(x + (rows ? k : 0), 0), w - 1);
        int r = std::min(std::max(y + (rows ? 0 : k), 0), h - 1);
        out[y * w + x] += f[k + RADIUS] * in[r * w + c];
      }
  return out;
}

int main() {
  const int n = 10007, width = 201, height = 77;
  float f[TAPS] = {0.5f, -1, 2, -3, 4, 3, 2, 1, 0.25f};
  auto x = random_reals(n);
  float *in = to_device(x), *out = zeros_on_device<float>(n);
  CHECK(cudaMemcpyToSymbol(filter, f, sizeof f));
  line<<<(n + 127) / 128, 128, (128 + 2 * RADIUS) * sizeof(float)>>>(in, out, n);
  auto got = to_host(out, n);
  int wrong = 0;
  for (int i = 0; i < n; i++) {
    double want = 0;
    for (int k = 0; k < TAPS; k++)
      if (i + k >= RADIUS && i + k - RADIUS < n) want += (double)f[k] * x[i + k - RADIUS];
    wrong += !close(got[i], want, 1e-5, 1e-5);
  }
  EXPECT(wrong == 0);

  // Half of the taps change: a copy to the middle of the symbol.
  float half[4] = {0.125f, 0.25f, 0.5f, 1};
  CHECK(cudaMemcpyToSymbol(filter, half, sizeof half, 3 * sizeof(float)));
  memcpy(f + 3, half, sizeof half);
  float back[TAPS];
  CHECK(cudaMemcpyFromSymbol(back, filter, sizeof back));
  EXPECT(memcmp(back, f, sizeof f) == 0);

  auto image = random_reals(width * height, 5);
  float *a = to_device(image), *b = zeros_on_device<float>(image.size());
  dim3 grid((width + WIDTH - 1) / WIDTH, (height + HEIGHT - 1) / HEIGHT), block(WIDTH, HEIGHT);
  separable<true><<<grid, block>>>(a, b, width, height);
  separable<false><<<grid, block>>>(b, a, width, height);
  auto smoothed = to_host(a, image.size());
  auto want = smooth(smooth(image, f, width, height, true), f, width, height, false);
  for (size_t i = 0; i < want.size(); i++) wrong += !close(smoothed[i], want[i], 1e-4, 1e-4);
  EXPECT(wrong == 0);

  int *e = zeros_on_device<int>(4);
  initialised<<<1, 4>>>(e);
  EXPECT((to_host(e, 4) == std::vector<int>{1, 0, -1, 7}));
  return verdict();
}
