// Memory from within kernels: malloc and free, new and delete, lists that outlive a kernel, the
// heap's limit and what happens at its end; alloca-like local arrays.
#include "sample.h"

struct Node {
  int value;
  Node *next;
};

__global__ void push(Node **heads, int count) {
  int me = blockIdx.x * blockDim.x + threadIdx.x;
  for (int i = 0; i < count; i++) {
    Node *node = (Node *)malloc(sizeof(Node));
    node->value = me + i, node->next = heads[me];
    heads[me] = node;
  }
}

__global__ void drain(Node **heads, int *sums) {
  int me = blockIdx.x * blockDim.x + threadIdx.x, sum = 0;
  while (Node *node = heads[me]) {
    sum += node->value;
    heads[me] = node->next;
    free(node);
  }
  sums[me] = sum;
}

// One allocation for a block, found through shared memory.
__global__ void by_block(int *out, int n) {
  __shared__ int *list;
  if (threadIdx.x == 0) list = new int[n];
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) list[i] = i * (blockIdx.x + 1);
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) out[blockIdx.x * n + i] = list[n - 1 - i];
  __syncthreads();
  if (threadIdx.x == 0) delete[] list;
}

__global__ void too_much(int *null, size_t bytes) {
  void *p = malloc(bytes);
  *null = p == nullptr;
  free(p);
  free(nullptr);
}

__global__ void aligned(int *wrong) {
  void *p = malloc(threadIdx.x * 3 + 1);
  if (!p || (size_t)p % 16) atomicAdd(wrong, 1);
  memset(p, 0x5a, threadIdx.x * 3 + 1);
  free(p);
}

// A stack of its own for every thread, indexed at run time.
__global__ void local_arrays(const int *order, int *out) {
  int stack[64], top = 0;
  char text[32];
  for (int i = 0; i < 64; i++) stack[top++] = order[(i + threadIdx.x) % 64] * 3;
  for (int i = 0; i < 32; i++) text[order[i] % 32] = i;
  int sum = text[order[threadIdx.x % 32] % 32];
  while (top) sum = sum * 31 + stack[order[--top]];
  out[threadIdx.x] = sum;
}

int main() {
  const int blocks = 4, threads = 64, all = blocks * threads, count = 20;
  size_t limit = 0;
  CHECK(cudaDeviceSetLimit(cudaLimitMallocHeapSize, 16 << 20));
  CHECK(cudaDeviceGetLimit(&limit, cudaLimitMallocHeapSize));
  EXPECT(limit >= 16 << 20);
  Node **heads = zeros_on_device<Node *>(all);
  int *sums = zeros_on_device<int>(4096);
  for (int round = 0; round < 3; round++) {
    push<<<blocks, threads>>>(heads, count);
    push<<<blocks, threads>>>(heads, count);
    drain<<<blocks, threads>>>(heads, sums);
    auto s = to_host(sums, all);
    for (int i = 0; i < all; i++) EXPECT(s[i] == 2 * (count * i + count * (count - 1) / 2));
  }
  by_block<<<4, 96>>>(sums, 1000);
  auto s = to_host(sums, 4000);
  for (int i = 0; i < 4000; i++) EXPECT(s[i] == (999 - i % 1000) * (i / 1000 + 1));
  CHECK(cudaMemset(sums, 0, 4));
  too_much<<<1, 1>>>(sums, (size_t)1 << 40);
  EXPECT(to_host(sums, 1)[0] == 1);
  too_much<<<1, 1>>>(sums, 12 << 20); // more than the heap was before its limit was raised
  EXPECT(to_host(sums, 1)[0] == 0);
  aligned<<<2, 200>>>(sums);
  EXPECT(to_host(sums, 1)[0] == 0);

  std::vector<int> order(64);
  for (int i = 0; i < 64; i++) order[i] = i * 37 % 64;
  local_arrays<<<1, 128>>>(to_device(order), sums);
  s = to_host(sums, 128);
  for (int t = 0; t < 128; t++) {
    char text[32];
    for (int i = 0; i < 32; i++) text[order[i] % 32] = i;
    unsigned sum = text[order[t % 32] % 32];
    for (int i = 63; i >= 0; i--) sum = sum * 31 + order[(order[i] + t) % 64] * 3;
    EXPECT(s[t] == (int)sum);
  }
  return verdict();
}
