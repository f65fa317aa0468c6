// Prefix sums: Hillis-Steele (inclusive), Blelloch (exclusive), warp shuffles, and one pass over
// any length with decoupled look-back, where blocks wait for their predecessors.
#include "sample.h"

__global__ void hillis_steele(const int *in, int *out) {
  extern __shared__ int line[];
  int n = blockDim.x, i = threadIdx.x, from = 0, to = n;
  line[i] = in[blockIdx.x * n + i];
  __syncthreads();
  for (int k = 1; k < n; k *= 2) {
    line[to + i] = line[from + i] + (i >= k ? line[from + i - k] : 0);
    int other = from;
    from = to, to = other;
    __syncthreads();
  }
  out[blockIdx.x * n + i] = line[from + i];
}

__global__ void blelloch(const int *in, int *out, int n) { // n = 2 blockDim.x, a power of two
  extern __shared__ int line[];
  int t = threadIdx.x, stride = 1;
  line[2 * t] = in[blockIdx.x * n + 2 * t], line[2 * t + 1] = in[blockIdx.x * n + 2 * t + 1];
  for (int d = n / 2; d > 0; d /= 2, stride *= 2) {
    __syncthreads();
    if (t < d) line[stride * (2 * t + 2) - 1] += line[stride * (2 * t + 1) - 1];
  }
  if (t == 0) line[n - 1] = 0;
  for (int d = 1; d < n; d *= 2) {
    stride /= 2;
    __syncthreads();
    if (t < d) {
      int left = stride * (2 * t + 1) - 1, right = stride * (2 * t + 2) - 1, swap = line[left];
      line[left] = line[right], line[right] += swap;
    }
  }
  __syncthreads();
  out[blockIdx.x * n + 2 * t] = line[2 * t], out[blockIdx.x * n + 2 * t + 1] = line[2 * t + 1];
}

__device__ unsigned block_scan(unsigned v, unsigned *of_warps) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int k = 1; k < 32; k *= 2) {
    unsigned below = __shfl_up_sync(~0u, v, k);
    if (lane >= k) v += below;
  }
  if (lane == 31) of_warps[warp] = v;
  __syncthreads();
  for (int w = 0; w < warp; w++) v += of_warps[w];
  return v;
}

struct Progress {
  unsigned long long *words; // per block: state (1 sum, 2 prefix) above, value below
  unsigned *ticket;
};

__global__ void look_back(const unsigned *in, unsigned *out, int n, Progress progress) {
  __shared__ unsigned of_warps[8], block, before;
  if (threadIdx.x == 0) block = atomicAdd(progress.ticket, 1);
  __syncthreads();
  int i = block * blockDim.x + threadIdx.x;
  unsigned v = block_scan(i < n ? in[i] : 0, of_warps);
  if (threadIdx.x == blockDim.x - 1) {
    volatile unsigned long long *words = progress.words;
    words[block] = (block ? 1ull : 2ull) << 32 | v;
    unsigned sum = 0;
    for (int b = (int)block - 1; b >= 0;) {
      unsigned long long word = words[b];
      if (word >> 32 == 0) continue;
      sum += (unsigned)word;
      if (word >> 32 == 2) break;
      b--;
    }
    words[block] = 2ull << 32 | (sum + v);
    before = sum;
  }
  __syncthreads();
  if (i < n) out[i] = before + v;
}

int main() {
  const int blocks = 5, width = 256;
  std::vector<int> v(blocks * width);
  Random random;
  for (auto &x : v) x = (int)random.below(200) - 100;
  int *in = to_device(v), *out = zeros_on_device<int>(v.size());
  hillis_steele<<<blocks, width, 2 * width * sizeof(int)>>>(in, out);
  auto inclusive = to_host(out, v.size());
  blelloch<<<blocks, width / 2, width * sizeof(int)>>>(in, out, width);
  auto exclusive = to_host(out, v.size());
  int wrong = 0;
  for (int b = 0; b < blocks; b++)
    for (int i = 0, sum = 0; i < width; i++) {
      wrong += exclusive[b * width + i] != sum;
      sum += v[b * width + i];
      wrong += inclusive[b * width + i] != sum;
    }
  EXPECT(wrong == 0);

  const int n = 50021, parts = (n + 255) / 256;
  auto words = random_words(n);
  unsigned *win = to_device(words), *wout = zeros_on_device<unsigned>(n);
  Progress progress{zeros_on_device<unsigned long long>(parts), zeros_on_device<unsigned>(1)};
  look_back<<<parts, 256>>>(win, wout, n, progress);
  auto prefix = to_host(wout, n);
  unsigned sum = 0;
  for (int i = 0; i < n; i++) wrong += prefix[i] != (sum += words[i]);
  EXPECT(wrong == 0);
  return verdict();
}
