// flags: -arch=compute_80
// Copies from global to shared memory that threads don't wait for: element by element, with a part
// filled by zeros, by a whole group; two tiles of a matrix product in turn.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_pipeline.h>

#include "sample.h"

namespace cg = cooperative_groups;

// One tile is on its way while the other is used.
template <int T> __global__ void product(const float *a, const float *b, float *c, int n) {
  __shared__ float as[2][T][T], bs[2][T][T];
  int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * T + y, column = blockIdx.x * T + x;
  auto load = [&](int t) {
    __pipeline_memcpy_async(&as[t & 1][y][x], a + row * n + t * T + x, sizeof(float));
    __pipeline_memcpy_async(&bs[t & 1][y][x], b + (t * T + y) * n + column, sizeof(float));
  };
  float sum = 0;
  load(0);
  __pipeline_commit();
  for (int t = 0; t < n / T; t++) {
    if (t + 1 < n / T) load(t + 1);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    for (int k = 0; k < T; k++) sum += as[t & 1][y][k] * bs[t & 1][k][x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

// Backwards; of every third element the last word is zero.
__global__ void reversed(const int4 *in, int4 *out, int n) {
  extern __shared__ int4 s[];
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    __pipeline_memcpy_async(s + i, in + i, sizeof(int4), i % 3 ? 0 : sizeof(int));
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = s[n - 1 - i];
}

__global__ void by_group(const char *in, char *out, int n) {
  extern __shared__ char bytes[];
  auto block = cg::this_thread_block();
  cg::memcpy_async(block, bytes, in, n);
  cg::wait(block);
  for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = bytes[n - 1 - i];
}

int main() {
  const int n = 128, few = 100, odd = 1001;
  auto a = random_reals(n * n, 1), b = random_reals(n * n, 2);
  float *c = zeros_on_device<float>(n * n);
  product<16><<<dim3(n / 16, n / 16), dim3(16, 16)>>>(to_device(a), to_device(b), c, n);
  auto got = to_host(c, n * n);
  for (int i = 0; i < n * n; i += 37) {
    double want = 0;
    for (int k = 0; k < n; k++) want += a[i / n * n + k] * b[k * n + i % n];
    EXPECT(close(got[i], want, 1e-4));
  }
  std::vector<int4> v(few);
  for (int i = 0; i < few; i++) v[i] = {i, i + 1, i + 2, i + 3};
  int4 *back = zeros_on_device<int4>(few);
  reversed<<<1, 32, few * sizeof(int4)>>>(to_device(v), back, few);
  auto r = to_host(back, few);
  for (int i = 0; i < few; i++) {
    int j = few - 1 - i;
    EXPECT(r[i].x == j && r[i].z == j + 2 && r[i].w == (j % 3 ? j + 3 : 0));
  }
  std::vector<char> text(odd);
  for (int i = 0; i < odd; i++) text[i] = (char)(i * 7);
  char *turned = zeros_on_device<char>(odd);
  by_group<<<1, 64, odd>>>(to_device(text), turned, odd);
  auto t = to_host(turned, odd);
  for (int i = 0; i < odd; i++) EXPECT(t[i] == text[odd - 1 - i]);
  return verdict();
}
