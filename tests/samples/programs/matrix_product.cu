// C = A B: one thread for an element; square tiles in shared memory; the same as a template over
// type and tile, with a register block.
#include "sample.h"

template <class T> __global__ void naive(const T *a, const T *b, T *c, int m, int n, int k) {
  int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= m || column >= n) return;
  T sum = 0;
  for (int i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + column];
  c[row * n + column] = sum;
}

template <class T, int TILE>
__global__ void tiled(const T *a, const T *b, T *c, int m, int n, int k) {
  __shared__ T left[TILE][TILE], right[TILE][TILE + 1];
  int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
  T sum = 0;
  for (int first = 0; first < k; first += TILE) {
    left[y][x] = row < m && first + x < k ? a[row * k + first + x] : T(0);
    right[y][x] = first + y < k && column < n ? b[(first + y) * n + column] : T(0);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILE; i++) sum += left[y][i] * right[i][x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}

// Each thread computes four rows of the tile.
template <int TILE>
__global__ void blocked(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float left[TILE][TILE], right[TILE][TILE];
  float sums[4] = {};
  int x = threadIdx.x, column = blockIdx.x * TILE + x;
  for (int first = 0; first < k; first += TILE) {
    for (int r = 0; r < 4; r++) {
      int y = threadIdx.y * 4 + r, row = blockIdx.y * TILE + y;
      left[y][x] = row < m && first + x < k ? a[row * k + first + x] : 0.0f;
      right[y][x] = first + y < k && column < n ? b[(first + y) * n + column] : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < TILE; i++)
      for (int r = 0; r < 4; r++) sums[r] += left[threadIdx.y * 4 + r][i] * right[i][x];
    __syncthreads();
  }
  for (int r = 0; r < 4; r++) {
    int row = blockIdx.y * TILE + threadIdx.y * 4 + r;
    if (row < m && column < n) c[row * n + column] = sums[r];
  }
}

template <class T>
static bool same(const T *d, const std::vector<T> &a, const std::vector<T> &b, int m, int n,
                 int k) {
  auto c = to_host(d, m * n);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double want = 0;
      for (int l = 0; l < k; l++) want += (double)a[i * k + l] * b[l * n + j];
      if (!close(c[i * n + j], want, 1e-5)) return false;
    }
  return true;
}

template <class T> static void products(int m, int n, int k) {
  std::vector<T> a(m * k), b(k * n);
  Random random;
  for (auto &x : a) x = T(random.below(100));
  for (auto &x : b) x = T(random.below(100));
  T *da = to_device(a), *db = to_device(b), *dc = zeros_on_device<T>(m * n);
  naive<<<dim3((n + 31) / 32, (m + 3) / 4), dim3(32, 4)>>>(da, db, dc, m, n, k);
  EXPECT(same(dc, a, b, m, n, k));
  CHECK(cudaMemset(dc, 0xff, m * n * sizeof(T)));
  tiled<T, 16><<<dim3((n + 15) / 16, (m + 15) / 16), dim3(16, 16)>>>(da, db, dc, m, n, k);
  EXPECT(same(dc, a, b, m, n, k));
  CHECK(cudaMemset(dc, 0xff, m * n * sizeof(T)));
  tiled<T, 32><<<dim3((n + 31) / 32, (m + 31) / 32), dim3(32, 32)>>>(da, db, dc, m, n, k);
  EXPECT(same(dc, a, b, m, n, k));
  if constexpr (sizeof(T) == 4 && T(0.5) != 0) {
    CHECK(cudaMemset(dc, 0xff, m * n * sizeof(T)));
    blocked<32><<<dim3((n + 31) / 32, (m + 31) / 32), dim3(32, 8)>>>(da, db, dc, m, n, k);
    EXPECT(same(dc, a, b, m, n, k));
  }
  CHECK(cudaFree(da));
  CHECK(cudaFree(db));
  CHECK(cudaFree(dc));
}

int main() {
  products<float>(128, 96, 160);
  products<float>(67, 45, 33);
  products<double>(50, 70, 90);
  products<int>(65, 64, 63);
  return verdict();
}
