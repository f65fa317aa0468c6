// Textbook kernels that the translator's tests run against NumPy.
#include <cooperative_groups.h>
#include <cstdio>
#include <cuda_fp16.h>
namespace cg = cooperative_groups;
#define K extern "C" __global__ void

K vector_add(const float *a, const float *b, float *c, int n) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}

K grid_stride(const double *x, double *y, double a, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x)
    y[i] = a * x[i] + y[i];
}

// Shared memory, static and dynamic, and barriers.
K reduce_shared(const float *x, float *out, int n) {
  extern __shared__ float part[];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  part[t] = i < n ? x[i] : 0.f;
  __syncthreads();
  for (int s = blockDim.x / 2; s > 0; s >>= 1) {
    if (t < s) part[t] += part[t + s];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = part[0];
}

#define TILE 16
K matmul_tiled(const float *a, const float *b, float *c, int n) {
  __shared__ float as[TILE][TILE], bs[TILE][TILE];
  int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * TILE + ty,
      col = blockIdx.x * TILE + tx;
  float sum = 0;
  for (int t = 0; t < n; t += TILE) {
    as[ty][tx] = row < n && t + tx < n ? a[row * n + t + tx] : 0;
    bs[ty][tx] = col < n && t + ty < n ? b[(t + ty) * n + col] : 0;
    __syncthreads();
    for (int k = 0; k < TILE; k++) sum += as[ty][k] * bs[k][tx];
    __syncthreads();
  }
  if (row < n && col < n) c[row * n + col] = sum;
}

// Warp operations.
K scan_block(const int *x, int *y) {
  __shared__ int sums[32];
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5,
      v = x[i];
  for (int o = 1; o < 32; o <<= 1) {
    int t = __shfl_up_sync(~0u, v, o);
    if (lane >= o) v += t;
  }
  if (lane == 31) sums[warp] = v;
  __syncthreads();
  if (warp == 0) {
    int t = lane < (blockDim.x >> 5) ? sums[lane] : 0;
    for (int o = 1; o < 32; o <<= 1) {
      int u = __shfl_up_sync(~0u, t, o);
      if (lane >= o) t += u;
    }
    sums[lane] = t;
  }
  __syncthreads();
  y[i] = v + (warp ? sums[warp - 1] : 0);
}

K votes(const int *p, unsigned *ballot, int *any, int *all, unsigned *match) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, v = p[i];
  unsigned b = __ballot_sync(~0u, v > 3);
  int n = __any_sync(~0u, v > 6), a = __all_sync(~0u, v < 7);
  match[i] = __match_any_sync(~0u, v);
  if ((threadIdx.x & 31) == 0) ballot[i / 32] = b, any[i / 32] = n, all[i / 32] = a;
}

K partial_masks(int *out) {
  int t = threadIdx.x, v;
  if (t < 16)
    v = __shfl_xor_sync(0xffff, t * 10, 1);
  else
    v = __shfl_sync(0xffff0000, t * 100, 31);
  out[t] = v;
}

K tiles(int *out) {
  auto tile = cg::tiled_partition<8>(cg::this_thread_block());
  int v = threadIdx.x;
  for (int o = 4; o; o >>= 1) v += tile.shfl_down(v, o);
  if (tile.thread_rank() == 0) out[threadIdx.x / 8] = v;
}

K redux(const unsigned *x, unsigned *out) {
  unsigned v = x[threadIdx.x];
  out[0 * 32 + threadIdx.x] = __syncthreads_count(v & 1);
  out[1 * 32 + threadIdx.x] = __syncthreads_and(v & 1);
  out[2 * 32 + threadIdx.x] = __syncthreads_or(v & 1);
}

// Divergence, and waiting for each other.
K divergent_barrier(int *out) {
  __shared__ int s[64];
  int t = threadIdx.x;
  s[t] = t;
  if (t < 32) {
    __syncthreads();
    out[t] = s[63 - t];
  } else {
    __syncthreads();
    out[t] = s[63 - t] + 100;
  }
}

K early_exit(int *out) {
  __shared__ int s[64];
  int t = threadIdx.x;
  s[t] = 0;
  if (t >= 48) return;
  s[t] = t;
  __syncthreads();
  out[t] = s[47 - t];
}

K spin_lock(int *lock, int *count) {
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      int v = *(volatile int *)count;
      *(volatile int *)count = v + 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

K producer(volatile int *flag, int *out) {
  if (threadIdx.x == 0) {
    while (flag[blockIdx.x] == 0) {
    }
    out[blockIdx.x] = flag[blockIdx.x];
  } else if (threadIdx.x == 255)
    flag[blockIdx.x] = blockIdx.x + 7;
}

K look_back(volatile int *state, int *out) {
  int b = blockIdx.x;
  if (threadIdx.x == 0) {
    int p = 0;
    if (b > 0)
      while ((p = state[b - 1]) == 0) {
      }
    state[b] = p + 1;
    out[b] = p + 1;
  }
}

// Atomics.
K histogram(const unsigned char *d, unsigned *h, int n) {
  __shared__ unsigned s[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) s[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x)
    atomicAdd(&s[d[i]], 1u);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&h[i], s[i]);
}

K atomics(const int *x, int *i, unsigned *u, unsigned long long *l, float *f, double *d, int n) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= n) return;
  atomicAdd(&i[0], x[t]), atomicSub(&i[1], x[t]), atomicMin(&i[2], x[t]), atomicMax(&i[3], x[t]);
  atomicAnd(&u[0], x[t] | 0xff00u), atomicOr(&u[1], 1u << (x[t] & 31)), atomicXor(&u[2], x[t]);
  atomicInc(&u[3], 99u), atomicDec(&u[4], 49u);
  atomicAdd(&l[0], (unsigned long long)t << 20), atomicMax(&l[1], (unsigned long long)t << 33);
  atomicAdd(f, 0.5f), atomicAdd(d, 0.25);
}

// Types.
K doubles(const double *x, double *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] = sin(x[i]) * exp(-x[i] * x[i]) + sqrt(fabs(x[i])) / (1.0 + x[i] * x[i]) +
           pow(fabs(x[i]) + 0.5, 1.7);
}

K floats(const float *x, float *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] = logf(1 + x[i] * x[i]) + expf(-fabsf(x[i])) + cosf(x[i]) + tanhf(x[i]) + x[i] / 3.f +
           rsqrtf(1 + x[i] * x[i]);
}

K halves(const __half *x, __half *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = __hadd(__hmul(x[i], __float2half(1.5f)), y[i]);
}

K longs(const long long *a, const long long *b, long long *c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    c[i] = a[i] / b[i] + a[i] % b[i] * 3 + __mul64hi(a[i], b[i]) + (a[i] >> 7) - (b[i] << 3);
}

K bits(const unsigned *x, unsigned *y) {
  int i = threadIdx.x;
  unsigned v = x[i];
  y[i] = __popc(v) + 100 * __clz(v) + 10000 * __ffs(v) + (__brev(v) ^ __byte_perm(v, ~v, 0x3715)) +
         __funnelshift_l(v, v + 1, 5);
}

// Control: switches through jump tables, local arrays, recursion, function pointers, virtual calls.
K switches(const int *x, int *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  switch (x[i]) {
  case 0: y[i] = 5; break;
  case 1: y[i] = x[i] * 7 + i; break;
  case 2: y[i] = i * i; break;
  case 3: y[i] = -i; break;
  case 4: y[i] = i ^ 99; break;
  case 5: y[i] = i / 3; break;
  case 6: y[i] = i % 5; break;
  case 7: y[i] = 1 << (i & 7); break;
  default: y[i] = -1;
  }
}

K local_array(const int *order, int *out) {
  int a[16];
  for (int k = 0; k < 16; k++) a[k] = k * threadIdx.x;
  out[threadIdx.x] = a[order[threadIdx.x] & 15];
}

__device__ __noinline__ int gcd(int a, int b) { return b ? gcd(b, a % b) : a; }
K recursion(const int *a, const int *b, int *c) {
  c[threadIdx.x] = gcd(a[threadIdx.x], b[threadIdx.x]);
}

__device__ __noinline__ float block_sum(float v, float *s) {
  s[threadIdx.x] = v;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < blockDim.x; i++) sum += s[i];
  __syncthreads();
  return sum;
}
K waiting_function(float *out) {
  __shared__ float s[64];
  float a = block_sum(threadIdx.x, s), b = block_sum(a + threadIdx.x, s);
  out[threadIdx.x] = b;
}

typedef int (*function)(int);
__device__ int plus_one(int x) { return x + 1; }
__device__ int twice(int x) { return 2 * x; }
__device__ function table[2] = {plus_one, twice};
K function_table(int *out) { out[threadIdx.x] = table[threadIdx.x & 1](threadIdx.x); }

struct Base {
  __device__ virtual int f(int x) { return x; }
};
struct Square : Base {
  __device__ int f(int x) override { return x * x; }
};
K virtual_calls(int *out) {
  Base a;
  Square b;
  Base *p = threadIdx.x & 1 ? (Base *)&b : &a;
  out[threadIdx.x] = p->f(threadIdx.x);
}

// Module variables.
__constant__ float weights[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int counter = 7;
K variables(float *out) {
  out[threadIdx.x] = weights[threadIdx.x & 3];
  atomicAdd(&counter, 1);
}
K read_counter(int *out) { *out = counter; }

struct Pair {
  char c;
  double d;
  short s[3];
};
K by_value(Pair p, const char c, double *out, short3 v) {
  out[0] = p.c, out[1] = p.d, out[2] = p.s[0] + 10 * p.s[1] + 100 * p.s[2], out[3] = c,
  out[4] = v.x + v.y * v.z;
}

K where_am_i(int *out) {
  int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

K prints(int n) {
  if (threadIdx.x == 0) printf("%d %s %5.2f %lld %c%%\n", n, "text", 1.5, 1LL << 40, 'x');
}

K heap(int *out) {
  int *p = (int *)malloc(8 * sizeof(int));
  for (int i = 0; i < 8; i++) p[i] = i * threadIdx.x;
  int sum = 0;
  for (int i = 0; i < 8; i++) sum += p[i];
  free(p);
  out[threadIdx.x] = sum;
}

// Waiting with an atomic that has no special meaning.
K atomic_wait(int *count) {
  atomicAdd(count, 1);
  while (atomicAdd(count, 0) < (int)blockDim.x) {
  }
}

K fence_wait(int *flag, int *out) {
  if (threadIdx.x == 0) {
    while (*flag == 0) __threadfence();
    *out = *flag;
  } else if (threadIdx.x == 255)
    *flag = 9;
}

// One 16x8 tile: A (16x16) and B (16x8) in f16 through cp.async, ldmatrix and mma, as matrix
// libraries do it.
K tensor_tile(const __half *a, const __half *b, float *c) {
  __shared__ __align__(16) __half as[16 * 16], bs[16 * 8];
  int lane = threadIdx.x;
  unsigned a0 = __cvta_generic_to_shared(as), b0 = __cvta_generic_to_shared(bs);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(a0 + lane * 16),
               "l"(a + lane * 8));
  if (lane < 16)
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(b0 + lane * 16),
                 "l"(b + lane * 8));
  asm volatile("cp.async.commit_group;\n cp.async.wait_group 0;");
  __syncwarp();
  unsigned f[4], g[2];
  unsigned row = a0 + ((lane & 15) * 16 + (lane >> 4) * 8) * 2;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
               : "r"(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(g[0]), "=r"(g[1])
               : "r"(b0 + (lane & 15) * 16));
  float d[4] = {1, 2, 3, 4};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(f[0]), "r"(f[1]), "r"(f[2]), "r"(f[3]), "r"(g[0]), "r"(g[1]));
  for (int i = 0; i < 4; i++) c[((lane >> 2) + 8 * (i >> 1)) * 8 + (lane & 3) * 2 + (i & 1)] = d[i];
}

// Blocks of very different lengths.
K uneven(const int *rounds, int *runs, float *sink) {
  float x = 1;
  for (int i = 0; i < rounds[blockIdx.x]; i++) x = x * 0.999f + 0.5f;
  sink[blockIdx.x] = x;
  atomicAdd(&runs[blockIdx.x], 1);
}
