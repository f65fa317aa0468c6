// flags: --extended-lambda
// Function pointers, virtual functions, recursion, lambdas, objects made and destroyed in kernels.
#include "sample.h"

typedef float (*Unary)(float);
__device__ __noinline__ float half_of(float x) { return x / 2; }
__device__ __noinline__ float square(float x) { return x * x; }
__device__ __noinline__ float negative(float x) { return -x; }
__device__ Unary table[3] = {half_of, square, negative};
__device__ Unary chosen = square;

__global__ void by_table(const float *in, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = table[i % 3](in[i]);
}

__global__ void by_argument(Unary f, const float *in, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = f(in[i]);
}

class Shape {
public:
  __device__ virtual ~Shape() {}
  __device__ virtual float area() const = 0;
  __device__ virtual int corners() const { return 0; }
};
class Circle : public Shape {
  float radius;

public:
  __device__ Circle(float r) : radius(r) {}
  __device__ float area() const override { return 3.0f * radius * radius; }
};
class Box : public Shape {
  float width, height;
  int *released;

public:
  __device__ Box(float w, float h, int *r) : width(w), height(h), released(r) {}
  __device__ ~Box() override { atomicAdd(released, 1); }
  __device__ float area() const override { return width * height; }
  __device__ int corners() const override { return 4; }
};

__global__ void make(Shape **shapes, int n, int *released) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  if (i % 2)
    shapes[i] = new Box(i, 2, released);
  else
    shapes[i] = new Circle(i);
}

__global__ void measure(Shape **shapes, float *areas, int *corners, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) areas[i] = shapes[i]->area(), corners[i] = shapes[i]->corners();
}

__global__ void destroy(Shape **shapes, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) delete shapes[i];
}

__device__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__device__ int ackermann(int m, int n) {
  return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

__global__ void recurse(int *out) {
  out[threadIdx.x] = threadIdx.x < 16 ? fibonacci(threadIdx.x) : ackermann(2, threadIdx.x - 16);
}

struct Many {
  int values[40];
};

template <class F> __global__ void apply(int *out, F f) { out[threadIdx.x] = f(threadIdx.x); }

int main() {
  const int n = 300;
  auto x = random_reals(n);
  float *in = to_device(x), *out = zeros_on_device<float>(n);
  by_table<<<3, 100>>>(in, out, n);
  auto got = to_host(out, n);
  for (int i = 0; i < n; i++)
    EXPECT(got[i] == (i % 3 == 0 ? x[i] / 2 : i % 3 == 1 ? x[i] * x[i] : -x[i]));
  Unary f;
  CHECK(cudaMemcpyFromSymbol(&f, chosen, sizeof f));
  by_argument<<<3, 100>>>(f, in, out, n);
  got = to_host(out, n);
  for (int i = 0; i < n; i++) EXPECT(got[i] == x[i] * x[i]);

  Shape **shapes = zeros_on_device<Shape *>(n);
  int *corners = zeros_on_device<int>(n), *released = zeros_on_device<int>(1);
  make<<<3, 100>>>(shapes, n, released);
  measure<<<3, 100>>>(shapes, out, corners, n);
  destroy<<<3, 100>>>(shapes, n);
  got = to_host(out, n);
  auto c = to_host(corners, n);
  for (int i = 0; i < n; i++)
    EXPECT(got[i] == (i % 2 ? 2.0f * i : 3.0f * i * i) && c[i] == (i % 2 ? 4 : 0));
  EXPECT(to_host(released, 1)[0] == n / 2);

  recurse<<<1, 24>>>(corners);
  c = to_host(corners, 24);
  for (int i = 0; i < 16; i++) EXPECT(c[i] == (i < 2 ? i : c[i - 1] + c[i - 2]));
  for (int i = 16; i < 24; i++) EXPECT(c[i] == 2 * (i - 16) + 3);

  int a = 7;
  Many many;
  for (int i = 0; i < 40; i++) many.values[i] = i * i;
  apply<<<1, 40>>>(corners, [=] __device__(int i) { return a * i + many.values[39 - i]; });
  c = to_host(corners, 40);
  for (int i = 0; i < 40; i++) EXPECT(c[i] == 7 * i + (39 - i) * (39 - i));
  return verdict();
}
