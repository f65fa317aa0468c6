// Cooperative groups: tiles of a warp, coalesced and labelled groups, the grid as one group.
#include "sample.h"
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

namespace cg = cooperative_groups;

template <int SIZE> __global__ void tiles(const int *in, int *sums, int *prefix, int *votes) {
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<SIZE> tile = cg::tiled_partition<SIZE>(block);
  int i = blockIdx.x * block.size() + block.thread_rank(), v = in[i];
  int sum = cg::reduce(tile, v, cg::plus<int>());
  prefix[i] = cg::exclusive_scan(tile, v);
  votes[i] = tile.any(v > 90) + 2 * tile.all(v > 10) + 4 * (tile.shfl(v, SIZE - 1) > 50);
  if (tile.thread_rank() == 0) sums[i / SIZE] = sum;
}

template <int SIZE> static void check_tiles(const std::vector<int> &v) {
  int n = (int)v.size(), *in = to_device(v), *sums = zeros_on_device<int>(n);
  int *prefix = zeros_on_device<int>(n), *votes = zeros_on_device<int>(n), wrong = 0;
  tiles<SIZE><<<n / 128, 128>>>(in, sums, prefix, votes);
  auto s = to_host(sums, n), p = to_host(prefix, n), b = to_host(votes, n);
  for (int t = 0; t < n; t += SIZE) {
    int sum = 0, any = 0, all = 1;
    for (int i = t; i < t + SIZE; i++) any |= v[i] > 90, all &= v[i] > 10;
    for (int i = t; i < t + SIZE; sum += v[i++])
      wrong += p[i] != sum || b[i] != any + 2 * all + 4 * (v[t + SIZE - 1] > 50);
    wrong += s[t / SIZE] != sum;
  }
  EXPECT(wrong == 0);
}

// Those of a warp that come here together share one atomic.
__device__ int claim(int *counter) {
  auto active = cg::coalesced_threads();
  int first = 0;
  if (active.thread_rank() == 0) first = atomicAdd(counter, active.size());
  return active.shfl(first, 0) + active.thread_rank();
}

__global__ void keep_odd(const int *in, int *out, int *counter) {
  int v = in[blockIdx.x * blockDim.x + threadIdx.x];
  if (v & 1) out[claim(counter)] = v;
}

__global__ void labelled(const int *in, int *sizes) {
  auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  auto same = cg::labeled_partition(warp, in[i] % 3);
  sizes[i] = same.size();
}

__global__ void relax(int *x, int *sum, int rounds) {
  cg::grid_group grid = cg::this_grid();
  int n = grid.size(), me = grid.thread_rank();
  for (int r = 0; r < rounds; r++) {
    int v = x[(me + 1) % n];
    grid.sync();
    x[me] = v;
    if (me == r) *sum += x[me] >= 0;
    grid.sync();
  }
}

static void whole_grid() {
  const int threads = 64;
  int per_sm, sms, able, rounds = 11;
  CHECK(cudaDeviceGetAttribute(&able, cudaDevAttrCooperativeLaunch, 0));
  CHECK(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0));
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, relax, threads, 0));
  EXPECT(able && per_sm > 0);
  int blocks = std::min(per_sm * sms, 16), n = blocks * threads;
  std::vector<int> v(n);
  for (int i = 0; i < n; i++) v[i] = i;
  int *x = to_device(v), *sum = zeros_on_device<int>(1);
  void *arguments[] = {&x, &sum, &rounds};
  CHECK(cudaLaunchCooperativeKernel((void *)relax, blocks, threads, arguments));
  auto got = to_host(x, n);
  for (int i = 0; i < n; i++) EXPECT(got[i] == (i + rounds) % n);
  EXPECT(to_host(sum, 1)[0] == rounds);
  EXPECT(cudaLaunchCooperativeKernel((void *)relax, per_sm * sms + 1, threads, arguments) ==
         cudaErrorCooperativeLaunchTooLarge);
  cudaGetLastError();
}

int main() {
  const int n = 1024;
  std::vector<int> v(n);
  Random random;
  for (auto &x : v) x = random.below(100);
  check_tiles<32>(v);
  check_tiles<8>(v);
  check_tiles<2>(v);
  int *in = to_device(v), *out = zeros_on_device<int>(n), *counter = zeros_on_device<int>(1);
  keep_odd<<<n / 128, 128>>>(in, out, counter);
  int kept = to_host(counter, 1)[0];
  long long want = 0, got = 0, odd = 0;
  for (int x : v) want += x & 1 ? x * x : 0, odd += x & 1;
  for (int x : to_host(out, kept)) got += x * x;
  EXPECT(kept == odd && got == want);
  labelled<<<n / 128, 128>>>(in, out);
  auto sizes = to_host(out, n);
  for (int i = 0; i < n; i++) {
    int same = 0;
    for (int j = i / 32 * 32; j < i / 32 * 32 + 32; j++) same += v[j] % 3 == v[i] % 3;
    EXPECT(sizes[i] == same);
  }
  whole_grid();
  return verdict();
}
