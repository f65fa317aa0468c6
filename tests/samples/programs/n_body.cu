// n bodies attract each other: positions pass through shared memory in tiles; energy is conserved.
#include "sample.h"

static const float SOFTENING = 0.05f;

__device__ float3 attract(float3 a, float4 mine, float4 other) {
  float3 r = make_float3(other.x - mine.x, other.y - mine.y, other.z - mine.z);
  float d = r.x * r.x + r.y * r.y + r.z * r.z + SOFTENING * SOFTENING;
  float inverse = rsqrtf(d), strength = other.w * inverse * inverse * inverse;
  a.x += r.x * strength, a.y += r.y * strength, a.z += r.z * strength;
  return a;
}

__global__ void forces(const float4 *positions, float3 *accelerations, int n) {
  extern __shared__ float4 tile[];
  int me = blockIdx.x * blockDim.x + threadIdx.x;
  float4 mine = me < n ? positions[me] : make_float4(0, 0, 0, 0);
  float3 a = {0, 0, 0};
  for (int first = 0; first < n; first += blockDim.x) {
    int i = first + threadIdx.x;
    tile[threadIdx.x] = i < n ? positions[i] : make_float4(0, 0, 0, 0);
    __syncthreads();
#pragma unroll 8
    for (int k = 0; k < blockDim.x; k++) a = attract(a, mine, tile[k]);
    __syncthreads();
  }
  if (me < n) accelerations[me] = a;
}

__global__ void move(float4 *positions, float4 *speeds, const float3 *a, float dt, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float4 v = speeds[i], p = positions[i];
  v.x += a[i].x * dt, v.y += a[i].y * dt, v.z += a[i].z * dt;
  p.x += v.x * dt, p.y += v.y * dt, p.z += v.z * dt;
  speeds[i] = v, positions[i] = p;
}

static double energy(const std::vector<float4> &p, const std::vector<float4> &v) {
  double e = 0;
  for (size_t i = 0; i < p.size(); i++) {
    e += 0.5 * p[i].w * (v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z);
    for (size_t j = 0; j < i; j++) {
      double x = p[i].x - p[j].x, y = p[i].y - p[j].y, z = p[i].z - p[j].z;
      e -= p[i].w * p[j].w / std::sqrt(x * x + y * y + z * z + SOFTENING * SOFTENING);
    }
  }
  return e;
}

int main() {
  const int n = 500, block = 64, steps = 20;
  Random random;
  std::vector<float4> p(n), v(n);
  for (auto &b : p)
    b = {random.real() - 0.5f, random.real() - 0.5f, random.real() - 0.5f, 1.0f / n};
  for (auto &s : v) s = {random.real() - 0.5f, random.real() - 0.5f, random.real() - 0.5f, 0};
  float4 *dp = to_device(p), *dv = to_device(v);
  float3 *da = zeros_on_device<float3>(n);
  int blocks = (n + block - 1) / block;
  forces<<<blocks, block, block * sizeof(float4)>>>(dp, da, n);
  auto a = to_host(da, n);
  for (int i = 0; i < n; i += 7) {
    double x = 0;
    for (int j = 0; j < n; j++) {
      double dx = p[j].x - p[i].x, dy = p[j].y - p[i].y, dz = p[j].z - p[i].z;
      x += p[j].w * dx / std::pow(dx * dx + dy * dy + dz * dz + SOFTENING * SOFTENING, 1.5);
    }
    EXPECT(close(a[i].x, x, 1e-4, 1e-4));
  }
  for (int step = 0; step < steps; step++) {
    forces<<<blocks, block, block * sizeof(float4)>>>(dp, da, n);
    move<<<blocks, block>>>(dp, dv, da, 0.002f, n);
  }
  double before = energy(p, v), after = energy(to_host(dp, n), to_host(dv, n));
  std::printf("energy %.6f, later %.6f\n", before, after);
  EXPECT(close(after, before, 0.01));
  return verdict();
}
