// Element by element: add, fused multiply-add in a grid-stride loop, integer and vector types.
#include "sample.h"

__global__ void add(const float *a, const float *b, float *c, int n) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}

__global__ void saxpy(float a, const float *x, float *y, int n) {
  for (int i = blockDim.x * blockIdx.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    y[i] = fmaf(a, x[i], y[i]);
}

__global__ void scale4(const float4 *in, float4 *out, float s, int n) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i >= n) return;
  float4 v = in[i];
  out[i] = make_float4(v.x * s, v.y * -s, v.z + s, v.w - s);
}

__global__ void bytes(const uchar3 *in, uchar3 *out, int n) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) out[i] = make_uchar3(in[i].z, 255 - in[i].y, in[i].x >> 1);
}

// Three-dimensional blocks and grids: every thread writes its own rank.
__global__ void ranks(unsigned *out) {
  unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  unsigned per_block = blockDim.x * blockDim.y * blockDim.z;
  out[block * per_block + thread] = block * per_block + thread;
}

static void floats(int n) {
  auto x = random_reals(n, 1), y = random_reals(n, 2);
  float *dx = to_device(x), *dy = to_device(y), *dz = zeros_on_device<float>(n);
  add<<<(n + 255) / 256, 256>>>(dx, dy, dz, n);
  saxpy<<<7, 96>>>(2.5f, dx, dy, n);
  auto sum = to_host(dz, n), fused = to_host(dy, n);
  int wrong = 0;
  for (int i = 0; i < n; i++)
    wrong += sum[i] != x[i] + y[i] || fused[i] != std::fmaf(2.5f, x[i], y[i]);
  EXPECT(wrong == 0);
  scale4<<<(n / 4 + 64) / 64, 64>>>((float4 *)dx, (float4 *)dz, 3.0f, n / 4);
  auto z = to_host(dz, n);
  for (int i = 0; i + 3 < n; i += 4)
    wrong += z[i] != x[i] * 3 || z[i + 1] != x[i + 1] * -3 || z[i + 2] != x[i + 2] + 3 ||
             z[i + 3] != x[i + 3] - 3;
  EXPECT(wrong == 0);
  CHECK(cudaFree(dx));
  CHECK(cudaFree(dy));
  CHECK(cudaFree(dz));
}

static void pixels(int n) {
  std::vector<uchar3> in(n);
  for (int i = 0; i < n; i++) in[i] = make_uchar3(i, i * 3, i * 7);
  uchar3 *d = to_device(in), *e = zeros_on_device<uchar3>(n);
  bytes<<<(n + 127) / 128, 128>>>(d, e, n);
  auto out = to_host(e, n);
  int wrong = 0;
  for (int i = 0; i < n; i++)
    wrong += out[i].x != in[i].z || out[i].y != 255 - in[i].y || out[i].z != in[i].x / 2;
  EXPECT(wrong == 0);
}

int main() {
  for (int n : {1, 31, 1000, 100003}) floats(n);
  pixels(5001);
  dim3 grid(3, 4, 5), block(4, 3, 7);
  const unsigned all = 3 * 4 * 5 * 4 * 3 * 7;
  unsigned *d = zeros_on_device<unsigned>(all);
  ranks<<<grid, block>>>(d);
  auto r = to_host(d, all);
  for (unsigned i = 0; i < all; i++) EXPECT(r[i] == i);
  return verdict();
}
