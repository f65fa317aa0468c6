// flags: -arch=compute_80
// Cooperative groups further on: partitions of tiles, other operators, updates of an atomic, one
// thread chosen, barriers in two halves, tiles of several warps.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda/atomic>

#include "sample.h"

namespace cg = cooperative_groups;

struct Told {
  int least, common, highest, alike, of_alike, all, chosen, place;
};

__global__ void tiles(const int *in, Told *out, int *calls) {
  __shared__ int all;
  auto block = cg::this_thread_block();
  auto warp = cg::tiled_partition<32>(block);
  auto eight = cg::tiled_partition<8>(warp);
  int v = in[block.thread_rank()];
  Told t;
  t.least = cg::reduce(eight, v, cg::less<int>());
  t.common = cg::reduce(warp, v, cg::bit_and<int>());
  t.highest = cg::inclusive_scan(warp, v, cg::greater<int>());
  auto alike = cg::binary_partition(warp, v & 1);
  t.alike = alike.num_threads();
  t.of_alike = cg::reduce(alike, v, cg::plus<int>());
  if (block.thread_rank() == 0) all = 0;
  block.sync();
  cuda::atomic_ref<int, cuda::thread_scope_block> sum(all);
  cg::reduce_update_async(warp, sum, v, cg::plus<int>());
  auto token = block.barrier_arrive();
  block.barrier_wait(std::move(token));
  t.all = all;
  cg::invoke_one(eight, [&] { atomicAdd(calls, 1); });
  t.chosen = cg::invoke_one_broadcast(eight, [&] { return v; });
  t.place = eight.meta_group_rank() * 100 + eight.meta_group_size();
  out[block.thread_rank()] = t;
}

__global__ void halves_of_a_barrier(int *counts) {
  auto grid = cg::this_grid();
  for (int round = 1; round <= 3; round++) {
    auto token = grid.barrier_arrive();
    if (grid.thread_rank() == 0) counts[1]++;
    grid.barrier_wait(std::move(token));
    atomicAdd(counts, 1);
    grid.sync();
    if (grid.thread_rank() == 5) counts[2] += counts[0];
    grid.sync();
  }
}

__global__ void several_warps(const int *in, int *sums, int *before) {
  __shared__ cg::block_tile_memory<256> memory;
  auto tile = cg::tiled_partition<128>(cg::this_thread_block(memory));
  sums[threadIdx.x] = cg::reduce(tile, in[threadIdx.x], cg::plus<int>());
  before[threadIdx.x] = cg::exclusive_scan(tile, in[threadIdx.x]);
}

static void check(const std::vector<int> &v, int thread, const Told &t) {
  int warp = thread / 32 * 32, eight = thread / 8 * 8, all = 0;
  Told want = {999, -1, 0, 0, 0, 0, 0, thread % 32 / 8 * 100 + 4};
  bool one_of_eight = false;
  for (int i = eight; i < eight + 8; i++) {
    want.least = std::min(want.least, v[i]);
    one_of_eight |= t.chosen == v[i];
  }
  for (int i = warp; i < warp + 32; i++) {
    want.common &= v[i];
    if (i <= thread) want.highest = std::max(want.highest, v[i]);
    if ((v[i] & 1) == (v[thread] & 1)) want.alike++, want.of_alike += v[i];
  }
  for (int i = 0; i < 64; i++) all += v[i];
  EXPECT(t.least == want.least && t.common == want.common && t.highest == want.highest);
  EXPECT(t.alike == want.alike && t.of_alike == want.of_alike && t.all == all);
  EXPECT(one_of_eight && t.place == want.place);
}

int main() {
  Random random;
  std::vector<int> v(256);
  for (auto &x : v) x = (int)random.below(100);
  int *in = to_device(v), *counts = zeros_on_device<int>(3), *calls = zeros_on_device<int>(1);
  Told *out = zeros_on_device<Told>(64);
  tiles<<<1, 64>>>(in, out, calls);
  auto told = to_host(out, 64);
  for (int i = 0; i < 64; i++) check(v, i, told[i]);
  EXPECT(to_host(calls, 1)[0] == 8);
  void *arguments[] = {&counts};
  CHECK(cudaLaunchCooperativeKernel((void *)halves_of_a_barrier, 4, 64, arguments));
  EXPECT(to_host(counts, 3) == (std::vector<int>{768, 3, 256 + 512 + 768}));
  int *sums = zeros_on_device<int>(256), *before = zeros_on_device<int>(256);
  several_warps<<<1, 256>>>(in, sums, before);
  auto s = to_host(sums, 256), b = to_host(before, 256);
  for (int half = 0, i = 0; half < 2; half++) {
    int sum = 0;
    for (; i < 128 * (half + 1); sum += v[i++]) EXPECT(b[i] == sum);
    EXPECT(s[128 * half] == sum && s[i - 1] == sum);
  }
  return verdict();
}
