// Managed memory as programs use it: many small pieces, hints, fills, copies, several streams,
// files.
#include <cstdio>

#include "sample.h"

struct Node {
  int value;
  Node *next;
};

__global__ void walk(Node *node, int *sum) {
  int all = 0;
  for (; node; node = node->next) all += node->value++;
  *sum = all;
}

__global__ void increment(int *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i]++;
}

__global__ void fill(int *x, int n, int value) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = value;
}

static int *managed(size_t n) {
  int *p;
  CHECK(cudaMallocManaged(&p, n * sizeof(int)));
  return p;
}

static bool all(const int *x, int n, int value) {
  for (int i = 0; i < n; i++)
    if (x[i] != value) return false;
  return true;
}

static void list_of_many() {
  const int n = 300;
  Node *head = nullptr;
  int *sum = managed(1);
  for (int i = 0; i < n; i++) {
    Node *node;
    CHECK(cudaMallocManaged(&node, sizeof *node));
    EXPECT(node->value == 0 && !node->next);
    *node = {i, head};
    head = node;
  }
  for (int round = 0; round < 3; round++) {
    walk<<<1, 1>>>(head, sum);
    CHECK(cudaDeviceSynchronize());
    EXPECT(*sum == n * (n - 1) / 2 + round * n);
  }
  for (int i = n - 1; head; i--) {
    Node *next = head->next;
    EXPECT(head->value == i + 3);
    CHECK(cudaFree(head));
    head = next;
  }
  CHECK(cudaFree(sum));
}

static void hints_fills_and_copies() {
  const int n = 1 << 20;
  int *x = managed(n), *d = zeros_on_device<int>(n);
  for (int i = 0; i < n; i++) x[i] = 1;
  cudaMemLocation here = {cudaMemLocationTypeDevice, 0};
  CHECK(cudaMemAdvise(x, n * sizeof(int), cudaMemAdviseSetReadMostly, here));
  CHECK(cudaMemPrefetchAsync(x, n * sizeof(int), here, 0, 0));
  increment<<<n / 256, 256>>>(x, n);
  increment<<<n / 256, 256>>>(x, n);
  CHECK(cudaDeviceSynchronize());
  EXPECT(all(x, n, 3));
  CHECK(cudaMemset(x, 0, n * sizeof(int)));
  EXPECT(all(x, n, 0)); // a fill of managed memory is done when it returns
  x[5] = 7;
  CHECK(cudaMemset(x + 6, 0xff, sizeof(int)));
  EXPECT(x[5] == 7 && x[6] == -1);
  std::vector<int> h(n, 4);
  CHECK(cudaMemcpy(x, h.data(), n * sizeof(int), cudaMemcpyHostToDevice));
  EXPECT(all(x, n, 4));
  x[1] = 44;
  CHECK(cudaMemcpy(d, x, n * sizeof(int), cudaMemcpyDefault));
  x[1] = 45;
  EXPECT(to_host(d, n)[1] == 44);
  increment<<<n / 256, 256>>>(d, n);
  CHECK(cudaMemcpy(x, d, n * sizeof(int), cudaMemcpyDeviceToDevice));
  CHECK(cudaDeviceSynchronize());
  EXPECT(x[0] == 5 && x[1] == 45 && x[n - 1] == 5);
  CHECK(cudaFree(x));
  CHECK(cudaFree(d));
}

static void every_kind_of_wait() {
  const int n = 1000, size = 4 * 256;
  int *x = managed(size), *d = zeros_on_device<int>(1), one;
  cudaStream_t blocking, other;
  cudaEvent_t event;
  CHECK(cudaStreamCreate(&blocking));
  CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  CHECK(cudaEventCreate(&event));
  fill<<<4, 256, 0, blocking>>>(x, n, 1);
  CHECK(cudaEventRecord(event, blocking));
  CHECK(cudaEventSynchronize(event));
  EXPECT(all(x, n, 1));
  fill<<<4, 256, 0, other>>>(x, n, 2);
  CHECK(cudaStreamSynchronize(other));
  EXPECT(all(x, n, 2));
  fill<<<4, 256, 0, blocking>>>(x, n, 3);
  while (cudaStreamQuery(blocking) == cudaErrorNotReady) {
  }
  EXPECT(all(x, n, 3));
  fill<<<4, 256, 0, blocking>>>(x, n, 4);
  CHECK(cudaEventRecord(event, blocking));
  while (cudaEventQuery(event) == cudaErrorNotReady) {
  }
  EXPECT(all(x, n, 4));
  fill<<<4, 256>>>(x, n, 5);
  CHECK(cudaMemcpy(&one, d, sizeof one, cudaMemcpyDeviceToHost)); // waits for the stream
  EXPECT(all(x, n, 5));
  fill<<<4, 256>>>(x, n, 6);
  CHECK(cudaFree(d)); // waits for the device
  EXPECT(all(x, n, 6));
  CHECK(cudaStreamDestroy(blocking));
  CHECK(cudaStreamDestroy(other));
  CHECK(cudaEventDestroy(event));
  CHECK(cudaFree(x));
}

/* The kernel of the operating system reads and writes it too. */
static void straight_to_a_file() {
  const int n = 1 << 18;
  const size_t bytes = n * sizeof(int);
  int *x = managed(n);
  FILE *file = tmpfile();
  fill<<<n / 256, 256>>>(x, n, 77);
  CHECK(cudaDeviceSynchronize());
  EXPECT(fwrite(x, 1, bytes, file) == bytes);
  rewind(file);
  CHECK(cudaMemset(x, 0, bytes));
  EXPECT(fread(x, 1, bytes, file) == bytes);
  increment<<<n / 256, 256>>>(x, n);
  CHECK(cudaDeviceSynchronize());
  EXPECT(all(x, n, 78));
  fclose(file);
  CHECK(cudaFree(x));
}

int main() {
  list_of_many();
  hints_fills_and_copies();
  every_kind_of_wait();
  straight_to_a_file();
  int *x = managed(1000);
  cudaPointerAttributes told;
  CHECK(cudaPointerGetAttributes(&told, x));
  EXPECT(told.type == cudaMemoryTypeManaged && told.hostPointer == x && told.devicePointer == x);
  CHECK(cudaDeviceReset());
  x = managed(1000);
  EXPECT(all(x, 1000, 0));
  increment<<<4, 256>>>(x, 1000);
  CHECK(cudaDeviceSynchronize());
  EXPECT(all(x, 1000, 1));
  return verdict();
}
