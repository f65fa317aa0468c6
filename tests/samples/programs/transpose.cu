// Matrix transposition: directly, through a tile in shared memory, and in place on a square.
#include "sample.h"

static const int TILE = 32, ROWS = 8;

__global__ void direct(const int *in, int *out, int width, int height) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < width && y < height) out[x * height + y] = in[y * width + x];
}

template <class T> __global__ void tiled(const T *in, T *out, int width, int height) {
  __shared__ T tile[TILE][TILE + 1];
  int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
  for (int j = 0; j < TILE; j += ROWS)
    if (x < width && y + j < height) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * width + x];
  __syncthreads();
  x = blockIdx.y * TILE + threadIdx.x, y = blockIdx.x * TILE + threadIdx.y;
  for (int j = 0; j < TILE; j += ROWS)
    if (x < height && y + j < width) out[(y + j) * height + x] = tile[threadIdx.x][threadIdx.y + j];
}

// A block exchanges a tile with its mirror image; blocks below the diagonal have nothing to do.
__global__ void in_place(int *a, int n) {
  __shared__ int upper[TILE][TILE + 1], lower[TILE][TILE + 1];
  if (blockIdx.y > blockIdx.x) return;
  int x = threadIdx.x, left = blockIdx.x * TILE, top = blockIdx.y * TILE;
  for (int y = threadIdx.y; y < TILE; y += ROWS) {
    upper[y][x] = a[(top + y) * n + left + x];
    lower[y][x] = a[(left + y) * n + top + x];
  }
  __syncthreads();
  for (int y = threadIdx.y; y < TILE; y += ROWS) {
    a[(left + y) * n + top + x] = upper[x][y];
    a[(top + y) * n + left + x] = lower[x][y];
  }
}

template <class T>
static bool transposed(const std::vector<T> &in, const std::vector<T> &out, int width, int height) {
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      if (memcmp(&in[y * width + x], &out[x * height + y], sizeof(T))) return false;
  return true;
}

template <class T> static void rectangle(int width, int height) {
  std::vector<T> a(width * height);
  auto words = random_words(width * height);
  for (size_t i = 0; i < a.size(); i++)
    memset(&a[i], words[i] & 0xff, sizeof(T)), a[i].x = words[i];
  T *in = to_device(a), *out = zeros_on_device<T>(a.size());
  dim3 grid((width + TILE - 1) / TILE, (height + TILE - 1) / TILE);
  tiled<<<grid, dim3(TILE, ROWS)>>>(in, out, width, height);
  EXPECT(transposed(a, to_host(out, a.size()), width, height));
  CHECK(cudaFree(in));
  CHECK(cudaFree(out));
}

int main() {
  const int width = 333, height = 217, n = 256;
  std::vector<int> a(width * height), square(n * n);
  for (int i = 0; i < width * height; i++) a[i] = i;
  int *in = to_device(a), *out = zeros_on_device<int>(a.size());
  direct<<<dim3((width + 15) / 16, (height + 15) / 16), dim3(16, 16)>>>(in, out, width, height);
  EXPECT(transposed(a, to_host(out, a.size()), width, height));
  rectangle<int1>(333, 217);
  rectangle<double2>(64, 100);
  rectangle<uchar4>(31, 1);
  rectangle<short1>(129, 65);
  for (int i = 0; i < n * n; i++) square[i] = i * 7;
  int *d = to_device(square);
  in_place<<<dim3(n / TILE, n / TILE), dim3(TILE, ROWS)>>>(d, n);
  EXPECT(transposed(square, to_host(d, n * n), n, n));
  return verdict();
}
