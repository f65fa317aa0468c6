// What programs take for granted about threads of one warp, and functions behind pointers that
// wait.
#define K extern "C" __global__ void

// Warp sums under the mask that __activemask tells, as older programs have it; odd lanes apart.
K active_sums(const int *in, int *out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, v = in[i];
  if (threadIdx.x & 1) {
    unsigned mask = __activemask();
    for (int step = 16; step > 1; step >>= 1) v += __shfl_down_sync(mask, v, step);
  } else {
    v = __popc(__activemask());
  }
  out[i] = v;
}

// Lanes that left a loop early are not among the active ones of its later rounds.
K active_in_loop(const int *in, int *out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, count = 0;
  for (int k = 0; k < (in[i] & 3); k++) count = count * 64 + __popc(__activemask());
  out[i] = count;
}

// A warp in step without any synchronisation: a reduction and a scan of volatile shared memory.
K volatile_reduce(const int *in, int *out) {
  __shared__ volatile int s[64];
  int t = threadIdx.x;
  s[t] = in[blockIdx.x * 64 + t];
  __syncthreads();
  if (t < 32) {
    s[t] += s[t + 32];
    s[t] += s[t + 16];
    s[t] += s[t + 8];
    s[t] += s[t + 4];
    s[t] += s[t + 2];
    s[t] += s[t + 1];
  }
  if (t == 0) out[blockIdx.x] = s[0];
}

K volatile_scan(const int *in, int *out) {
  __shared__ volatile int s[64];
  int t = threadIdx.x;
  s[t] = 0;
  s[t + 32] = in[blockIdx.x * 32 + t];
  for (int step = 1; step < 32; step *= 2) s[t + 32] += s[t + 32 - step];
  out[blockIdx.x * 32 + t] = s[t + 32];
}

// Volatile, but with a barrier wherever threads meet: no need to be in step.
K volatile_with_barriers(const int *in, int *out) {
  __shared__ volatile int s[64];
  int t = threadIdx.x, v = in[blockIdx.x * 64 + t];
  s[t] = v;
  for (int step = 1; step < 64; step *= 2) {
    __syncthreads();
    int w = t >= step ? s[t - step] : 0;
    __syncthreads();
    s[t] = v += w;
  }
  out[blockIdx.x * 64 + t] = s[t];
}

typedef int (*Op)(int *, int);
__device__ __noinline__ int turned(int *s, int v) {
  s[threadIdx.x] = v;
  __syncthreads();
  v = s[blockDim.x - 1 - threadIdx.x];
  __syncthreads();
  return v;
}
__device__ __noinline__ int neighbour(int *s, int v) { return __shfl_xor_sync(~0u, v, 1); }
__device__ __noinline__ int alone(int *s, int v) { return v * 3; }
__device__ __noinline__ int greatest(int *s, int v) { // an atomic maximum out of compare-and-swap
  int old = 0, seen;
  do {
    seen = old;
    old = atomicCAS(s + blockDim.x, seen, max(seen, v));
  } while (old != seen);
  return v;
}
__device__ Op table[4] = {turned, neighbour, alone, greatest};

K behind_pointers(const int *in, int *out, int *most) {
  extern __shared__ int s[];
  int i = blockIdx.x * blockDim.x + threadIdx.x, v = in[i];
  if (threadIdx.x == 0) s[blockDim.x] = 0;
  __syncthreads();
  for (int k = 0; k < 4; k++) v = table[(k + blockIdx.x) & 3](s, v) + k;
  __syncthreads();
  out[i] = v;
  most[blockIdx.x] = s[blockDim.x];
}

struct Visitor {
  __device__ virtual void visit(int) = 0;
};
struct Adder : Visitor {
  int *to;
  __device__ void visit(int v) override { atomicMax(to, v); }
};
struct Nothing : Visitor {
  __device__ void visit(int) override {}
};
typedef void (*Plain)();
__device__ int visits;
__device__ void visited() { atomicAdd(&visits, 1); }
__device__ Plain plain = visited;
K no_arguments(int *out) {
  Adder a;
  Nothing n;
  a.to = out;
  Visitor *who = threadIdx.x % 2 ? (Visitor *)&a : (Visitor *)&n;
  who->visit(threadIdx.x);
  plain();
  __syncthreads();
  if (threadIdx.x == 0) out[1] = visits;
}

// Both functions of one angle: compilers call sincos for them.
K both_functions(const float *in, float *out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = __sinf(in[i]) * 2 + __cosf(in[i]) + exp2f((float)(i & 7));
}

// Reads a register that only some threads have written.
K unwritten(const int *in, int *out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  asm volatile("{ .reg .pred p; .reg .b32 r; setp.gt.s32 p, %1, 500; @p mov.b32 r, 7;\n"
               "@p add.s32 r, r, %1; selp.b32 r, r, -1, p; st.global.b32 [%0], r; }" ::"l"(out + i),
               "r"(in[i])
               : "memory");
}

// How long a string is, with the loop that compilers know by heart.
K lengths(const char *text, int *out) {
  const char *p = text + threadIdx.x;
  int n = 0;
  while (p[n]) n++;
  out[threadIdx.x] = n;
}
