// Libraries of templates: Thrust on device vectors, CUB's device-wide and block-wide algorithms.
#include "sample.h"
#include <algorithm>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>
#include <numeric>
#include <thrust/device_vector.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sort.h>
#include <thrust/transform.h>

struct Squared {
  __host__ __device__ long long operator()(int x) const { return (long long)x * x; }
};

static void with_thrust(const std::vector<int> &v) {
  int n = (int)v.size();
  thrust::device_vector<int> d(v.begin(), v.end()), prefix(n);
  thrust::device_vector<long long> squares(n);
  EXPECT(thrust::reduce(d.begin(), d.end(), 0) == std::accumulate(v.begin(), v.end(), 0));
  thrust::inclusive_scan(d.begin(), d.end(), prefix.begin());
  std::vector<int> want(n), got(n);
  std::partial_sum(v.begin(), v.end(), want.begin());
  thrust::copy(prefix.begin(), prefix.end(), got.begin());
  EXPECT(got == want);
  thrust::transform(d.begin(), d.end(), squares.begin(), Squared());
  EXPECT(squares[n - 1] == Squared()(v[n - 1]));
  thrust::sort(d.begin(), d.end());
  want = v;
  std::sort(want.begin(), want.end());
  thrust::copy(d.begin(), d.end(), got.begin());
  EXPECT(got == want);
}

static void with_cub(const std::vector<int> &v) {
  int n = (int)v.size(), *in = to_device(v), *out = zeros_on_device<int>(n);
  void *scratch = nullptr;
  size_t bytes = 0;
  std::vector<int> sorted = v, prefix(n);
  CHECK(cub::DeviceRadixSort::SortKeysDescending(scratch, bytes, in, out, n));
  CHECK(cudaMalloc(&scratch, bytes + (1 << 20)));
  CHECK(cub::DeviceRadixSort::SortKeysDescending(scratch, bytes, in, out, n));
  std::sort(sorted.rbegin(), sorted.rend());
  EXPECT(to_host(out, n) == sorted);
  bytes = 1 << 20;
  CHECK(cub::DeviceScan::ExclusiveSum(scratch, bytes, in, out, n));
  std::exclusive_scan(v.begin(), v.end(), prefix.begin(), 0);
  EXPECT(to_host(out, n) == prefix);
  CHECK(cub::DeviceReduce::Max(scratch, bytes, in, out, n));
  EXPECT(to_host(out, 1)[0] == sorted[0]);
}

__global__ void in_block(const int *in, int *sums, int *prefix) {
  typedef cub::BlockReduce<int, 128> Reduce;
  typedef cub::BlockScan<int, 128> Scan;
  __shared__ union {
    Reduce::TempStorage reduce;
    Scan::TempStorage scan;
  } scratch;
  int i = blockIdx.x * 128 + threadIdx.x, v = in[i];
  int sum = Reduce(scratch.reduce).Sum(v);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  __syncthreads();
  Scan(scratch.scan).ExclusiveSum(v, prefix[i]);
}

int main() {
  const int n = 20000;
  Random random;
  std::vector<int> v(n);
  for (auto &x : v) x = (int)random.below(100000) - 50000;
  with_thrust(v);
  with_cub(v);
  int *sums = zeros_on_device<int>(4), *prefix = zeros_on_device<int>(512);
  in_block<<<4, 128>>>(to_device(v), sums, prefix);
  auto s = to_host(sums, 4), p = to_host(prefix, 512);
  for (int b = 0; b < 4; b++) {
    int sum = 0;
    for (int i = 0; i < 128; sum += v[b * 128 + i++]) EXPECT(p[b * 128 + i] == sum);
    EXPECT(s[b] == sum);
  }
  return verdict();
}
