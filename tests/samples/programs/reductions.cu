// Sums and extremes: a tree in shared memory, warp shuffles, one pass with a last block, and the
// hardware's integer reductions.
#include "sample.h"

struct Add {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct Max {
  template <class T> __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};

template <class T, class Op> __global__ void tree(const T *in, T *out, int n, T neutral, Op op) {
  extern __shared__ __align__(16) unsigned char raw[];
  T *part = reinterpret_cast<T *>(raw);
  T v = neutral;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    v = op(v, in[i]);
  part[threadIdx.x] = v;
  __syncthreads();
  for (unsigned k = blockDim.x / 2; k; k >>= 1) {
    if (threadIdx.x < k) part[threadIdx.x] = op(part[threadIdx.x], part[threadIdx.x + k]);
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}

template <class T, class Op> __device__ T warp_reduce(T v, Op op) {
  for (int k = 16; k; k /= 2) v = op(v, __shfl_xor_sync(0xffffffffu, v, k));
  return v;
}

__device__ unsigned finished;

// The last block to finish adds up what all the others wrote.
__global__ void one_pass(const float *in, volatile float *parts, float *out, int n) {
  __shared__ float of_warp[32];
  __shared__ bool last;
  float v = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    v += in[i];
  v = warp_reduce(v, Add());
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    v = warp_reduce(threadIdx.x < blockDim.x / 32 ? of_warp[threadIdx.x] : 0.0f, Add());
    if (threadIdx.x == 0) {
      parts[blockIdx.x] = v;
      __threadfence();
      last = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
    }
  }
  __syncthreads();
  if (!last || threadIdx.x >= 32) return;
  v = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += 32) v += parts[i];
  v = warp_reduce(v, Add());
  if (threadIdx.x == 0) *out = v;
}

__global__ void down(const double *in, double *sums) { // segments of eight lanes
  double v = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (int k = 4; k; k /= 2) v += __shfl_down_sync(0xffffffffu, v, k, 8);
  if (threadIdx.x % 8 == 0) sums[(blockIdx.x * blockDim.x + threadIdx.x) / 8] = v;
}

template <class T, class Op> static T reduce(const std::vector<T> &v, T neutral, Op op) {
  const int blocks = 24, threads = 128;
  T *d = to_device(v), *parts = zeros_on_device<T>(blocks), *out = zeros_on_device<T>(1);
  tree<<<blocks, threads, threads * sizeof(T)>>>(d, parts, (int)v.size(), neutral, op);
  tree<<<1, 32, 32 * sizeof(T)>>>(parts, out, blocks, neutral, op);
  return to_host(out, 1)[0];
}

int main() {
  const int n = 70001;
  std::vector<int> whole(n);
  std::vector<long long> longs(n);
  std::vector<double> reals(n);
  long long sum = 0, longest = -1;
  double total = 0;
  Random random;
  for (int i = 0; i < n; i++) {
    sum += whole[i] = random.below(10000);
    longs[i] = (long long)random.next() * random.below(1 << 20);
    longest = longs[i] > longest ? longs[i] : longest;
    total += reals[i] = random.real();
  }
  EXPECT(reduce(whole, 0, Add()) == sum);
  EXPECT(reduce(longs, -1LL, Max()) == longest);
  EXPECT(close(reduce(reals, 0.0, Add()), total, 1e-12));

  auto floats = random_reals(n);
  double want = 0;
  for (float f : floats) want += f;
  float *in = to_device(floats), *parts = zeros_on_device<float>(40),
        *out = zeros_on_device<float>(1);
  for (int round = 0; round < 3; round++) { // the counter wraps to zero by itself
    one_pass<<<40, 256>>>(in, parts, out, n);
    EXPECT(close(to_host(out, 1)[0], want, 1e-5));
  }
  double *dr = to_device(reals), *sums = zeros_on_device<double>(64);
  down<<<4, 128>>>(dr, sums);
  auto s = to_host(sums, 64);
  for (int i = 0; i < 64; i++) {
    double eight = 0;
    for (int j = 0; j < 8; j++) eight += reals[i * 8 + j];
    EXPECT(close(s[i], eight, 1e-14));
  }
  return verdict();
}
