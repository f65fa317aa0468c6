// Kernels whose threads meet at every barrier, with what could go wrong between barriers: values
// kept across them, loops inside loops, branches where threads part, addresses that wrap. Every
// kernel is (const int *in, int *out, int n) over whole blocks of any shape.
#define K extern "C" __global__ void
#define SIZE (blockDim.x * blockDim.y * blockDim.z)
#define ME (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z))
#define ALL (blockIdx.x * SIZE + ME)

K kept_values(const int *in, int *out, int n) {
  __shared__ int s[1024];
  __shared__ double d[1024];
  int t = ME, v = in[ALL];
  long long big = (long long)v << 33;
  bool odd = v & 1, large = v > 500;
  unsigned char byte = v;
  short half = v * 3;
  double x = v * 0.25;
  s[t] = v, d[t] = x;
  __syncthreads();
  v += s[SIZE - 1 - t];
  if (odd) x += d[(t + 1) % SIZE];
  __syncthreads();
  s[t] = large ? byte : half;
  __syncthreads();
  out[ALL] = v + s[(t + 7) % SIZE] + (int)(big >> 33) + (int)x + odd;
}

K nested_loops(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, sum = in[ALL], at = t;
  for (int i = 0; i < n; i++) {
    s[t] = sum + at;
    __syncthreads();
    for (int j = i; j < 3 * i; j += 2) {
      sum += s[(t + j) % SIZE] ^ j;
      if (j & 2) __syncthreads();
    }
    at += i;
    for (int k = 0; k < (sum & 7); k++) sum += in[at % SIZE] >> k;
    __syncthreads();
  }
  out[ALL] = sum * 31 + at;
}

K threads_part(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, v = in[ALL], r;
  if (v & 1) r = v * 3;
  s[t] = v;
  __syncthreads();
  if (v & 1) {
    v += r;
    switch (s[(t + 1) % SIZE] & 3) {
    case 0: v ^= 5; break;
    case 1:
      while (v > 100) v /= 3;
    case 2: v += s[t]; break;
    }
  } else if (t % 3)
    v -= s[(t + 2) % SIZE];
  __syncthreads();
  s[t] = v;
  __syncthreads();
  if (n > 2 && v % 5 == 0) return;
  out[ALL] = s[(t * 5 + n) % SIZE] + v;
}

K common_choice(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, v = in[ALL];
  if (blockIdx.x % 3 == 2) return;
  if (blockIdx.x & 1) {
    s[t] = v * 2;
    __syncthreads();
    v = s[SIZE - 1 - t];
  } else {
    for (int i = 0; i < n; i++) {
      s[(t + i) % SIZE] = v + i;
      __syncthreads();
      v ^= s[t];
      __syncthreads();
    }
  }
  out[ALL] = v;
}

K wrapping_addresses(const int *in, int *out, int n) {
  __shared__ int s[1024];
  unsigned t = ME, far = t * 0x40000000u + n, near = 0xfffffffcu + t;
  s[t] = in[ALL] + (int)(near >> 3);
  __syncthreads();
  unsigned char low = t * 97;
  int v = s[far % SIZE] + s[(near + 4) % SIZE];
  long long wide = (long long)(int)near * 3 + (long long)near + (int)(0x7ffffff0u + t);
  __syncthreads();
  s[low % SIZE] = 1;
  out[ALL] = v + (int)(wide >> 2) + low;
}

K counting(const int *in, int *out, int n) {
  __shared__ int bins[32];
  int t = ME;
  for (int i = t; i < 32; i += SIZE) bins[i] = 0;
  __syncthreads();
  for (int i = 0; i < n; i++) atomicAdd(&bins[(in[ALL] + i) & 31], 1);
  __syncthreads();
  int old = atomicAdd(&bins[t & 31], 0);
  __syncwarp();
  out[ALL] = old * 100 + bins[(t + 1) & 31];
}

__device__ __noinline__ int mix(int a, int b) { return a * 31 + (b ^ a >> 3); }
K calling(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, v = in[ALL];
  for (int step = 1; step < SIZE; step *= 2) {
    s[t] = v;
    __syncthreads();
    if (t >= step) v = mix(v, s[t - step]);
    __syncthreads();
  }
  out[ALL] = v;
}

K sorted_blocks(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, count = SIZE;
  s[t] = in[ALL];
  __syncthreads();
  for (int round = 0; round < count; round++) {
    int i = 2 * t + (round & 1);
    if (i + 1 < count && s[i] > s[i + 1]) {
      int u = s[i];
      s[i] = s[i + 1], s[i + 1] = u;
    }
    __syncthreads();
  }
  out[ALL] = s[t];
}

K moving_start(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, sum = 0;
  const int *p = in + blockIdx.x * SIZE + t;
  for (int outer = 0; outer < n; outer++) {
    int i = t * 2 + outer, first = i, step = outer + 1;
    for (int k = 0; k < 3; k++) {
      s[t] = i + *p;
      __syncthreads();
      sum += s[(first + k) % SIZE] * (i - first);
      i += step, step += k;
      __syncthreads();
    }
    p += outer & 1 ? -1 : 1;
    if (t == 0 && p < in) p = in;
  }
  out[ALL] = sum;
}

// A thread's own accesses keep their order, whatever the vectoriser thinks of its neighbours.
K own_order(const int *in, int *out, int n) {
  __shared__ int s[2048], at[1024], to[2048];
  int t = ME;
  s[2 * t] = in[ALL], s[2 * t + 1] = 3 * in[ALL], to[2 * t] = to[2 * t + 1] = t;
  at[t] = 2 * t + (in[ALL] & 1);
  __syncthreads();
  int *p = s + at[t];
  int a = s[2 * t];
  *p = t + 5;
  int b = s[2 * t + 1];
  *p = t + 9;
  __syncthreads();
  to[2 * t] = a;
  to[at[t]] = 7 * b;
  to[2 * t + 1] += n;
  __syncthreads();
  out[ALL] = to[2 * t] * 3 + to[2 * t + 1] + a - b + s[2 * t];
}

K stepped_values(const int *in, int *out, int n) {
  __shared__ int s[1024];
  int t = ME, sum = 0, i = t, before = (i ^ 9) & 127;
#pragma unroll 1
  for (int k = 0; k < n; k++) {
    int j = (i ^ 5) & 63;
    s[t] = j + in[ALL];
    __syncthreads();
    sum += (s[(t + 1) % SIZE] ^ j) + before;
    i += n;
    __syncthreads();
    sum += j;
  }
  out[ALL] = sum;
}
