// flags: -arch=compute_80 --expt-relaxed-constexpr
// libcu++: atomics of objects and references, a ticket lock, semaphores, a flag that one block sets
// and another awaits; values of the standard library in kernels.
#include <cuda/atomic>
#include <cuda/semaphore>
#include <cuda/std/array>
#include <cuda/std/bit>
#include <cuda/std/chrono>
#include <cuda/std/complex>
#include <cuda/std/expected>
#include <cuda/std/mdspan>
#include <cuda/std/numeric>
#include <cuda/std/optional>
#include <cuda/std/span>
#include <cuda/std/tuple>
#include <cuda/std/variant>

#include "sample.h"

namespace cs = cuda::std;
constexpr auto DEVICE = cuda::thread_scope_device;

struct Counters {
  int sum, doubled;
  long long most;
  float real;
  double least;
  int guarded, passed;
};

__global__ void references(Counters *c) {
  cuda::atomic_ref<int, DEVICE>(c->sum).fetch_add(1, cs::memory_order_relaxed);
  cuda::atomic_ref<long long, DEVICE>(c->most).fetch_max(threadIdx.x + 1000ll * blockIdx.x);
  cuda::atomic_ref<float, DEVICE>(c->real).fetch_add(0.5f);
  cuda::atomic_ref<double, cuda::thread_scope_system>(c->least).fetch_min(-(double)threadIdx.x);
  cuda::atomic_ref<int> doubled(c->doubled);
  int seen = doubled.load();
  while (!doubled.compare_exchange_weak(seen, seen + 2, cs::memory_order_acq_rel)) {
  }
}

__device__ cuda::atomic<int, DEVICE> ticket{0}, serving{0};
__device__ cuda::counting_semaphore<DEVICE, 3> places{3};
__device__ int inside, most_inside;

__global__ void guarded(Counters *c) {
  if (threadIdx.x) return;
  int mine = ticket.fetch_add(1);
  while (serving.load(cs::memory_order_acquire) != mine) {
  }
  volatile int *count = &c->guarded;
  *count = *count + 1;
  serving.store(mine + 1, cs::memory_order_release);
  places.acquire();
  atomicMax(&most_inside, atomicAdd(&inside, 1) + 1);
  atomicAdd(&c->passed, 1);
  atomicSub(&inside, 1);
  places.release();
}

__global__ void handed_over(int *flag, int *data) {
  cuda::atomic_ref<int, DEVICE> ready(*flag);
  if (threadIdx.x) return;
  if (blockIdx.x == 0) {
    data[0] = 42;
    ready.store(1, cs::memory_order_release);
    ready.notify_all();
  } else {
    ready.wait(0, cs::memory_order_acquire);
    data[1] = data[0] + 1;
  }
}

__global__ void values(int *out) {
  cs::complex<float> z(1, 2), square = z * cs::conj(z);
  out[0] = (int)(square.real() + cs::abs(cs::complex<float>(3, 4)));
  cs::variant<int, float> either = 2.5f;
  out[1] = cs::visit([](auto x) { return (int)(x * 2); }, either);
  cs::array<int, 5> array{5, 3, 1, 4, 2};
  cs::span<int> part(array.data(), 3);
  out[2] = cs::accumulate(part.begin(), part.end(), 0);
  cs::optional<int> maybe;
  out[3] = maybe.value_or(9);
  int cells[12];
  for (int i = 0; i < 12; i++) cells[i] = i;
  cs::mdspan<int, cs::extents<int, cs::dynamic_extent, 4>> grid(cells, 3);
  out[4] = grid(2, 1) + grid.extent(0);
  auto [one, two, three] = cs::make_tuple(1, 2.0f, 3ll);
  out[5] = one + (int)two + (int)three;
  out[6] = cs::popcount(0xff00ffu) + cs::countl_zero(1u) + (int)cs::bit_ceil(17u);
  cs::expected<int, char> failed = cs::unexpected<char>('e');
  out[7] = failed.has_value() ? 0 : failed.error();
  auto now = cs::chrono::system_clock::now().time_since_epoch();
  out[8] = cs::chrono::duration_cast<cs::chrono::hours>(now).count() > 400000;
}

int main() {
  Counters c = {};
  Counters *d = to_device(std::vector<Counters>{c});
  references<<<10, 64>>>(d);
  guarded<<<30, 32>>>(d);
  c = to_host(d, 1)[0];
  EXPECT(c.sum == 640 && c.doubled == 1280 && c.most == 9063 && c.real == 320 && c.least == -63);
  EXPECT(c.guarded == 30 && c.passed == 30);
  int most = 0;
  CHECK(cudaMemcpyFromSymbol(&most, most_inside, sizeof most));
  EXPECT(most >= 1 && most <= 3);
  int *out = zeros_on_device<int>(16);
  handed_over<<<2, 32>>>(out, out + 1);
  auto got = to_host(out, 3);
  EXPECT(got[1] == 42 && got[2] == 43);
  values<<<1, 1>>>(out);
  EXPECT(to_host(out, 9) == (std::vector<int>{10, 5, 9, 9, 12, 6, 16 + 31 + 32, 'e', 1}));
  return verdict();
}
