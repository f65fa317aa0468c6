// Pools of a program's own beside the default one, and hints given to streams.
#include "sample.h"

__global__ void fill(int *out, int value, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = value + i;
}

static uint64_t used(cudaMemPool_t pool) {
  uint64_t bytes = 0;
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &bytes));
  return bytes;
}

static void pools(cudaStream_t stream) {
  const int n = 1 << 16;
  cudaMemPoolProps props{};
  props.allocType = cudaMemAllocationTypePinned;
  props.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t own, current, standard;
  CHECK(cudaMemPoolCreate(&own, &props));
  uint64_t keep = UINT64_MAX, threshold = 0;
  CHECK(cudaMemPoolSetAttribute(own, cudaMemPoolAttrReleaseThreshold, &keep));
  CHECK(cudaMemPoolGetAttribute(own, cudaMemPoolAttrReleaseThreshold, &threshold));
  EXPECT(threshold == keep);
  int *a, *b;
  CHECK(cudaMallocFromPoolAsync(&a, n * sizeof(int), own, stream));
  EXPECT(used(own) >= n * sizeof(int));
  CHECK(cudaDeviceGetDefaultMemPool(&standard, 0));
  CHECK(cudaDeviceGetMemPool(&current, 0));
  EXPECT(current == standard && own != standard && used(standard) == 0);
  CHECK(cudaDeviceSetMemPool(0, own));
  CHECK(cudaDeviceGetMemPool(&current, 0));
  EXPECT(current == own);
  CHECK(cudaMallocAsync(&b, n * sizeof(int), stream));
  EXPECT(used(own) >= 2 * n * sizeof(int));
  fill<<<1, 256, 0, stream>>>(a, 5, n);
  CHECK(cudaMemcpyAsync(b, a, n * sizeof(int), cudaMemcpyDeviceToDevice, stream));
  CHECK(cudaFreeAsync(a, stream));
  CHECK(cudaStreamSynchronize(stream));
  auto got = to_host(b, n);
  for (int i = 0; i < n; i += 1000) EXPECT(got[i] == 5 + i);
  EXPECT(used(own) < 2 * n * sizeof(int));
  CHECK(cudaMemPoolTrimTo(own, 0));
  CHECK(cudaMemPoolDestroy(own)); // what was taken from it stays until it is freed
  CHECK(cudaDeviceGetMemPool(&current, 0));
  EXPECT(current == standard);
  got = to_host(b, n);
  EXPECT(got[n - 1] == 5 + n - 1);
  CHECK(cudaFreeAsync(b, stream));
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(cudaMemPoolDestroy(standard) == cudaErrorInvalidValue);
}

// Pools that are destroyed while memory of theirs is in use come and go without end.
static void passing_pools(cudaStream_t stream) {
  cudaMemPoolProps props{};
  props.allocType = cudaMemAllocationTypePinned;
  props.location = {cudaMemLocationTypeDevice, 0};
  for (int i = 0; i < 3000; i++) {
    cudaMemPool_t pool;
    void *memory;
    CHECK(cudaMemPoolCreate(&pool, &props));
    CHECK(cudaMallocFromPoolAsync(&memory, 4096, pool, stream));
    CHECK(cudaMemPoolDestroy(pool));
    CHECK(cudaFreeAsync(memory, stream));
    if (i % 100 == 0) CHECK(cudaStreamSynchronize(stream));
  }
}

static void hints(cudaStream_t stream) {
  char *data = zeros_on_device<char>(4096);
  cudaStreamAttrValue value{}, told{};
  value.accessPolicyWindow = {data, 4096, 0.5f, cudaAccessPropertyPersisting,
                              cudaAccessPropertyStreaming};
  CHECK(cudaStreamSetAttribute(stream, cudaStreamAttributeAccessPolicyWindow, &value));
  CHECK(cudaStreamGetAttribute(stream, cudaStreamAttributeAccessPolicyWindow, &told));
  EXPECT(told.accessPolicyWindow.base_ptr == data && told.accessPolicyWindow.num_bytes == 4096);
  cudaStream_t other;
  CHECK(cudaStreamCreate(&other));
  CHECK(cudaStreamCopyAttributes(other, stream));
  CHECK(cudaStreamGetAttribute(other, cudaStreamAttributeAccessPolicyWindow, &told));
  EXPECT(told.accessPolicyWindow.hitRatio == 0.5f);
  value.syncPolicy = cudaSyncPolicyYield;
  CHECK(cudaStreamSetAttribute(other, cudaStreamAttributeSynchronizationPolicy, &value));
  CHECK(cudaCtxResetPersistingL2Cache());
  CHECK(cudaStreamDestroy(other));
}

int main() {
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  pools(stream);
  passing_pools(stream);
  hints(stream);
  return verdict();
}
