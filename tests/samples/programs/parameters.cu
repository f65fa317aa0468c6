// What a kernel can be given: structures by value, mixed sizes and alignments, parameters of 4 KB,
// arrays inside structures, references to globals, templates over types and constants.
#include "sample.h"

struct Mixed {
  char c;
  double d;
  short s[3];
  int *target;
  bool flag;
  float4 vector;
};

struct Large {
  int values[900];
  double weight;
};

struct Tiny {
  unsigned char bytes[3];
};

__global__ void mixed(char first, Mixed m, short second, Tiny tiny, long long third, float last) {
  if (threadIdx.x) return;
  double sum = first + m.c + m.d + m.s[0] + m.s[1] + m.s[2] + m.flag + second + third + last;
  sum += m.vector.x + m.vector.y + m.vector.z + m.vector.w;
  for (unsigned char b : tiny.bytes) sum += b;
  m.c = 0; // its own copy
  *m.target = (int)sum;
}

__global__ void large(Large l, int *out, const int bias) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < 900) out[i] = (int)(l.values[i] * l.weight) + bias + l.values[899 - i];
}

__global__ void modified(Large l, int *out) { // a parameter that the kernel writes to
  for (int k = 0; k < 900; k += 3) l.values[(k * 7 + threadIdx.x) % 900] = threadIdx.x;
  int sum = 0;
  for (int v : l.values) sum += v;
  out[threadIdx.x] = sum;
}

template <class T, int N, bool REVERSED> __global__ void pick(const T *in, T *out) {
  T line[N];
#pragma unroll
  for (int i = 0; i < N; i++) line[i] = in[i];
#pragma unroll
  for (int i = 0; i < N; i++) out[i] = REVERSED ? line[N - 1 - i] : line[i];
}

struct __align__(16) State {
  int counts[5];
  double total;
};
__device__ State state = {{1, 2, 3, 4, 5}, 2.5};
__device__ int grid_of[4][8];
__device__ State *where = &state;

__global__ void globals(int by) {
  atomicAdd(&where->counts[threadIdx.x % 5], by);
  grid_of[threadIdx.x / 8][threadIdx.x % 8] = threadIdx.x;
  if (threadIdx.x == 0) where->total *= 2;
}

int main() {
  int *out = zeros_on_device<int>(1024);
  Mixed m = {1, 2.0, {3, 4, 5}, out, true, make_float4(6, 7, 8, 9)};
  mixed<<<2, 32>>>(10, m, 20, Tiny{{1, 2, 3}}, 1ll << 20, 0.5f);
  EXPECT(to_host(out, 1)[0] == 10 + 1 + 2 + 12 + 1 + 20 + (1 << 20) + 30 + 6);

  static Large l;
  for (int i = 0; i < 900; i++) l.values[i] = i * 2;
  l.weight = 1.5;
  large<<<8, 128>>>(l, out, -3);
  auto got = to_host(out, 900);
  for (int i = 0; i < 900; i++) EXPECT(got[i] == i * 3 - 3 + (899 - i) * 2);
  modified<<<1, 64>>>(l, out);
  got = to_host(out, 64);
  for (int t = 0; t < 64; t++) {
    Large mine = l;
    int sum = 0;
    for (int k = 0; k < 900; k += 3) mine.values[(k * 7 + t) % 900] = t;
    for (int v : mine.values) sum += v;
    EXPECT(got[t] == sum);
  }

  std::vector<double> reals = {1, 2, 3, 4, 5, 6, 7};
  double *in = to_device(reals), *picked = zeros_on_device<double>(7);
  pick<double, 7, true><<<1, 1>>>(in, picked);
  EXPECT((to_host(picked, 7) == std::vector<double>{7, 6, 5, 4, 3, 2, 1}));
  pick<double, 3, false><<<1, 1>>>(in + 2, picked);
  EXPECT((to_host(picked, 4) == std::vector<double>{3, 4, 5, 4}));

  globals<<<1, 32>>>(10);
  State s;
  int table[4][8];
  void *address;
  size_t bytes;
  CHECK(cudaMemcpyFromSymbol(&s, state, sizeof s));
  CHECK(cudaMemcpyFromSymbol(table, grid_of, sizeof table));
  EXPECT(s.counts[0] == 71 && s.counts[1] == 72 && s.counts[2] == 63 && s.counts[4] == 65 &&
         s.total == 5);
  for (int i = 0; i < 32; i++) EXPECT(table[i / 8][i % 8] == i);
  CHECK(cudaGetSymbolSize(&bytes, grid_of));
  CHECK(cudaGetSymbolAddress(&address, grid_of));
  EXPECT(bytes == sizeof table && to_host((int *)address, 32)[31] == 31);
  return verdict();
}
