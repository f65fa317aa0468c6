// Histograms: atomics on global memory, private bins in shared memory, and a match of equal bins
// within a warp, so that one lane adds for all.
#include "sample.h"

static const int BINS = 256;

__global__ void global(const unsigned char *data, int n, unsigned *bins) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&bins[data[i]], 1u);
}

__global__ void shared(const unsigned char *data, int n, unsigned *bins) {
  __shared__ unsigned mine[BINS];
  for (int i = threadIdx.x; i < BINS; i += blockDim.x) mine[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&mine[data[i]], 1u);
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += blockDim.x) atomicAdd(&bins[i], mine[i]);
}

__global__ void matched(const unsigned char *data, int n, unsigned *bins) {
  int lane = threadIdx.x % 32, rounds = (n + gridDim.x * blockDim.x - 1) / (gridDim.x * blockDim.x);
  for (int r = 0; r < rounds; r++) {
    int i = (r * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;
    int bin = i < n ? data[i] % 8 : -1;
    unsigned equal = __match_any_sync(0xffffffffu, bin);
    if (bin >= 0 && __ffs(equal) - 1 == lane) atomicAdd(&bins[bin], (unsigned)__popc(equal));
  }
}

__global__ void extremes(const int *data, int n, int *least, int *most, unsigned *bits,
                         unsigned *odd) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    atomicMin(least, data[i]);
    atomicMax(most, data[i]);
    atomicOr(bits, data[i]);
    atomicXor(odd, data[i]);
  }
}

int main() {
  const int n = 200003;
  std::vector<unsigned char> data(n);
  std::vector<unsigned> want(BINS), eight(8);
  Random random;
  for (auto &x : data) x = random.below(20) ? random.below(256) : 42, want[x]++, eight[x % 8]++;
  unsigned char *d = to_device(data);
  unsigned *bins = zeros_on_device<unsigned>(BINS);
  global<<<16, 128>>>(d, n, bins);
  EXPECT(to_host(bins, BINS) == want);
  CHECK(cudaMemset(bins, 0, BINS * sizeof(unsigned)));
  shared<<<16, 192>>>(d, n, bins);
  EXPECT(to_host(bins, BINS) == want);
  CHECK(cudaMemset(bins, 0, BINS * sizeof(unsigned)));
  matched<<<16, 128>>>(d, n, bins);
  EXPECT(to_host(bins, 8) == eight);

  std::vector<int> numbers(5000);
  int least = 0, most = 0;
  unsigned bits = 0, odd = 0;
  for (auto &x : numbers) {
    x = (int)random.next() / 3;
    least = std::min(least, x), most = std::max(most, x), bits |= x, odd ^= x;
  }
  int *dn = to_device(numbers), *extreme = zeros_on_device<int>(2);
  unsigned *words = zeros_on_device<unsigned>(2);
  extremes<<<5, 100>>>(dn, 5000, extreme, extreme + 1, words, words + 1);
  EXPECT((to_host(extreme, 2) == std::vector<int>{least, most}));
  EXPECT((to_host(words, 2) == std::vector<unsigned>{bits, odd}));
  return verdict();
}
