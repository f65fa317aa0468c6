// Sparse and regular neighbourhoods: breadth-first search on a graph in compressed rows, sparse
// matrix times vector, Jacobi's iteration, and the game of life.
#include "sample.h"
#include <queue>

struct Rows {
  std::vector<int> first, columns;
};

static Rows random_graph(int n, int degree) {
  Random random;
  Rows g;
  g.first.push_back(0);
  for (int i = 0; i < n; i++) {
    for (unsigned k = random.below(2 * degree + 1); k--;) g.columns.push_back(random.below(n));
    g.first.push_back((int)g.columns.size());
  }
  return g;
}

__global__ void visit(const int *first, const int *columns, int *level, int depth, int n,
                      int *changed) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n || level[i] != depth) return;
  for (int e = first[i]; e < first[i + 1]; e++)
    if (atomicCAS(&level[columns[e]], -1, depth + 1) == -1) *changed = 1;
}

static void search(const Rows &g, int n) {
  std::vector<int> want(n, -1), start(n, -1);
  std::queue<int> open({0});
  for (want[0] = start[0] = 0; !open.empty(); open.pop())
    for (int i = open.front(), e = g.first[i]; e < g.first[i + 1]; e++)
      if (want[g.columns[e]] < 0) want[g.columns[e]] = want[i] + 1, open.push(g.columns[e]);
  int *first = to_device(g.first), *columns = to_device(g.columns), *level = to_device(start);
  int *changed = zeros_on_device<int>(1);
  for (int depth = 0, more = 1; more; depth++) {
    CHECK(cudaMemset(changed, 0, sizeof *changed));
    visit<<<(n + 127) / 128, 128>>>(first, columns, level, depth, n, changed);
    more = to_host(changed, 1)[0];
  }
  EXPECT(to_host(level, n) == want);
}

// A warp for a row.
__global__ void sparse(const int *first, const int *columns, const float *a, const float *x,
                       float *y, int n) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (row >= n) return;
  float sum = 0;
  for (int e = first[row] + lane; e < first[row + 1]; e += 32) sum += a[e] * __ldg(&x[columns[e]]);
  for (int k = 16; k; k /= 2) sum += __shfl_down_sync(~0u, sum, k);
  if (lane == 0) y[row] = sum;
}

static void product(const Rows &g, int n) {
  auto a = random_reals(g.columns.size()), x = random_reals(n, 9);
  float *y = zeros_on_device<float>(n);
  sparse<<<(n + 3) / 4, 128>>>(to_device(g.first), to_device(g.columns), to_device(a), to_device(x),
                               y, n);
  auto got = to_host(y, n);
  for (int i = 0; i < n; i++) {
    double want = 0;
    for (int e = g.first[i]; e < g.first[i + 1]; e++) want += (double)a[e] * x[g.columns[e]];
    EXPECT(close(got[i], want, 1e-5, 1e-6));
  }
}

__global__ void jacobi(const double *in, double *out, int n) {
  int x = blockIdx.x * blockDim.x + threadIdx.x + 1, y = blockIdx.y * blockDim.y + threadIdx.y + 1;
  if (x >= n - 1 || y >= n - 1) return;
  const double *p = in + y * n + x;
  out[y * n + x] = 0.25 * (p[-1] + p[1] + p[-n] + p[n]);
}

static void heat() { // a harmonic function is the solution for its own boundary
  const int n = 34;
  std::vector<double> a(n * n);
  auto exact = [](int x, int y) { return x * x - y * y + 3.0 * x * y; };
  for (int y = 0; y < n; y++)
    for (int x = 0; x < n; x++)
      if (x == 0 || y == 0 || x == n - 1 || y == n - 1) a[y * n + x] = exact(x, y);
  double *d = to_device(a), *e = to_device(a);
  for (int round = 0; round < 3000; round++) {
    jacobi<<<dim3(2, 4), dim3(16, 8)>>>(d, e, n);
    std::swap(d, e);
  }
  auto got = to_host(d, n * n);
  for (int y = 0; y < n; y++)
    for (int x = 0; x < n; x++) EXPECT(std::fabs(got[y * n + x] - exact(x, y)) < 1e-2);
}

__global__ void generation(const unsigned char *in, unsigned char *out, int w, int h) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y,
      alive = 0;
  if (x >= w || y >= h) return;
  for (int dy = -1; dy <= 1; dy++)
    for (int dx = -1; dx <= 1; dx++)
      if (dx || dy) alive += in[(y + dy + h) % h * w + (x + dx + w) % w];
  out[y * w + x] = alive == 3 || (alive == 2 && in[y * w + x]);
}

static void life() { // a glider on a torus is back after four generations for each cell of its way
  const int n = 24;
  std::vector<unsigned char> world(n * n);
  for (int cell : {1, n + 2, 2 * n, 2 * n + 1, 2 * n + 2}) world[cell] = 1;
  unsigned char *d = to_device(world), *e = zeros_on_device<unsigned char>(n * n);
  for (int i = 0; i < 4 * n; i++) {
    generation<<<dim3(3, 3), dim3(8, 8)>>>(d, e, n, n);
    std::swap(d, e);
    if (i == 3) EXPECT(to_host(d, n * n) != world);
  }
  EXPECT(to_host(d, n * n) == world);
}

int main() {
  const int n = 4000;
  Rows g = random_graph(n, 4);
  search(g, n);
  product(g, n);
  heat();
  life();
  return verdict();
}
