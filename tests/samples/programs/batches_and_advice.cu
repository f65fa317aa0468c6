// Copies in batches, boxes between devices, advice about managed memory that is told again, and all
// of it by the older calls that programs built with CUDA 12 make.
#include <cuda.h>

#include "sample.h"

static cudaStream_t stream;

static void batches() {
  const int n = 3000;
  std::vector<int> a(n), b(n, -1);
  for (int i = 0; i < n; i++) a[i] = i;
  int *d = zeros_on_device<int>(n), *e = to_device(a), *pinned;
  CHECK(cudaMallocHost(&pinned, n * sizeof(int)));
  for (int i = 0; i < n; i++) pinned[i] = 7 * i;
  void *to[] = {d, d + 1000, b.data()};
  const void *from[] = {pinned, a.data(), e};
  size_t bytes[] = {1000 * sizeof(int), 500 * sizeof(int), n * sizeof(int)}, firsts[] = {0, 2};
  cudaMemcpyAttributes how[2] = {};
  how[0].srcAccessOrder = cudaMemcpySrcAccessOrderDuringApiCall;
  how[1].srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  CHECK(cudaMemcpyBatchAsync(to, from, bytes, 3, how, firsts, 2, stream));
  for (int i = 0; i < n; i++) pinned[i] = 0; // the call has read it
  CHECK(cudaStreamSynchronize(stream));
  auto got = to_host(d, n);
  EXPECT(got[999] == 7 * 999 && got[1000] == 0 && got[1499] == 499 && got[1500] == 0 && b == a);
  EXPECT(cudaMemcpyBatchAsync(to, from, bytes, 3, how, firsts, 2, 0) == cudaErrorInvalidValue);
  firsts[0] = 1;
  EXPECT(cudaMemcpyBatchAsync(to, from, bytes, 3, how, firsts, 2, stream) == cudaErrorInvalidValue);
  cudaGetLastError();
  CHECK(cudaFreeHost(pinned));
}

static void boxes() {
  const int w = 16, h = 8, depth = 3;
  std::vector<char> a(w * h * depth), b(a.size());
  for (size_t i = 0; i < a.size(); i++) a[i] = (char)i;
  char *d = zeros_on_device<char>(a.size());
  cudaMemcpy3DBatchOp op = {};
  op.src.type = op.dst.type = cudaMemcpyOperandTypePointer;
  op.src.op.ptr.ptr = a.data() + w + 1; // all but the border
  op.dst.op.ptr.ptr = d;                // packed
  op.src.op.ptr.rowLength = w;
  op.src.op.ptr.layerHeight = h;
  op.extent = {w - 2, h - 2, depth};
  op.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  CHECK(cudaMemcpy3DBatchAsync(1, &op, 0, stream));
  CHECK(cudaStreamSynchronize(stream));
  auto got = to_host(d, (w - 2) * (h - 2) * depth);
  for (int z = 0, i = 0; z < depth; z++)
    for (int y = 1; y < h - 1; y++)
      for (int x = 1; x < w - 1; x++) EXPECT(got[i++] == (char)((z * h + y) * w + x));
}

static void boxes_between_devices() {
  int devices;
  CHECK(cudaGetDeviceCount(&devices));
  std::vector<int> a(100);
  for (int i = 0; i < 100; i++) a[i] = i;
  int *from = to_device(a);
  CHECK(cudaSetDevice(devices - 1));
  int *to = zeros_on_device<int>(64);
  CHECK(cudaSetDevice(0));
  cudaMemcpy3DPeerParms p = {};
  p.srcPtr = make_cudaPitchedPtr(from, 40, 10, 10);
  p.dstDevice = devices - 1;
  p.dstPtr = make_cudaPitchedPtr(to, 32, 8, 8);
  p.extent = make_cudaExtent(32, 8, 1);
  CHECK(cudaMemcpy3DPeer(&p));
  CHECK(cudaMemcpy3DPeerAsync(&p, stream));
  CHECK(cudaStreamSynchronize(stream));
  auto got = to_host(to, 64);
  for (int i = 0; i < 64; i++) EXPECT(got[i] == i / 8 * 10 + i % 8);
}

static int told(const char *at, size_t bytes, cudaMemRangeAttribute attribute) {
  int value = -99;
  CHECK(cudaMemRangeGetAttribute(&value, sizeof value, attribute, at, bytes));
  return value;
}

static void advice() {
  const size_t half = 1 << 20, all = 2 * half;
  char *m;
  CHECK(cudaMallocManaged(&m, all));
  cudaMemLocation device = {cudaMemLocationTypeDevice, 0}, host = {cudaMemLocationTypeHost, 0};
  EXPECT(told(m, all, cudaMemRangeAttributeReadMostly) == 0);
  EXPECT(told(m, all, cudaMemRangeAttributePreferredLocation) == cudaInvalidDeviceId);
  CHECK(cudaMemAdvise(m, half, cudaMemAdviseSetReadMostly, device));
  EXPECT(told(m, half, cudaMemRangeAttributeReadMostly) == 1);
  EXPECT(told(m, all, cudaMemRangeAttributeReadMostly) == 0);
  CHECK(cudaMemAdvise(m + half, half, cudaMemAdviseSetReadMostly, device));
  EXPECT(told(m, all, cudaMemRangeAttributeReadMostly) == 1);
  CHECK(cudaMemAdvise(m, all, cudaMemAdviseSetPreferredLocation, device));
  EXPECT(told(m + 5, all - 5, cudaMemRangeAttributePreferredLocation) == 0);
  CHECK(cudaMemAdvise(m, all, cudaMemAdviseSetAccessedBy, host));
  CHECK(cudaMemAdvise(m, all, cudaMemAdviseSetAccessedBy, device));
  CHECK(cudaMemAdvise(m + half, half, cudaMemAdviseUnsetReadMostly, device));
  CHECK(cudaMemPrefetchAsync(m, half, device, 0, stream));
  CHECK(cudaMemPrefetchAsync(m + half, half, host, 0, stream));
  int users[3], mostly, last;
  void *data[] = {users, &mostly, &last};
  size_t sizes[] = {sizeof users, sizeof mostly, sizeof last};
  cudaMemRangeAttribute which[] = {cudaMemRangeAttributeAccessedBy, cudaMemRangeAttributeReadMostly,
                                   cudaMemRangeAttributeLastPrefetchLocation};
  CHECK(cudaMemRangeGetAttributes(data, sizes, which, 3, m, all));
  EXPECT(users[0] == 0 && users[1] == cudaCpuDeviceId && users[2] == cudaInvalidDeviceId);
  EXPECT(mostly == 0 && last == cudaInvalidDeviceId);
  EXPECT(told(m, half, cudaMemRangeAttributeLastPrefetchLocation) == 0);
  EXPECT(told(m + half, half, cudaMemRangeAttributeLastPrefetchLocation) == cudaCpuDeviceId);
  int *plain = zeros_on_device<int>(4);
  EXPECT(cudaMemRangeGetAttribute(&last, 4, cudaMemRangeAttributeReadMostly, plain, 16) ==
         cudaErrorInvalidValue);
  cudaGetLastError();
  CHECK(cudaFree(m));
  CHECK(cudaMallocManaged(&m, all)); // nothing is known of new memory
  EXPECT(told(m, half, cudaMemRangeAttributeReadMostly) == 0);
  CHECK(cudaFree(m));
}

template <class F> static F form(const char *name, unsigned version) {
  void *found = nullptr;
  cudaDriverEntryPointQueryResult result;
  CHECK(cudaGetDriverEntryPointByVersion(name, &found, version, cudaEnableDefault, &result));
  EXPECT(result == cudaDriverEntryPointSuccess && found);
  return (F)found;
}

static void older_forms() {
  char *m;
  CHECK(cudaMallocManaged(&m, 1 << 16));
  auto address = (CUdeviceptr)m;
  auto advise =
      form<CUresult (*)(CUdeviceptr, size_t, CUmem_advise, CUdevice)>("cuMemAdvise", 8000);
  auto prefetch =
      form<CUresult (*)(CUdeviceptr, size_t, CUdevice, CUstream)>("cuMemPrefetchAsync", 8000);
  EXPECT(advise(address, 100, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU) == 0);
  EXPECT(prefetch(address, 100, 0, (CUstream)stream) == 0);
  EXPECT(told(m, 100, cudaMemRangeAttributePreferredLocation) == cudaCpuDeviceId);
  EXPECT(told(m, 100, cudaMemRangeAttributeLastPrefetchLocation) == 0);
  auto batch =
      form<CUresult (*)(CUdeviceptr *, CUdeviceptr *, size_t *, size_t, CUmemcpyAttributes *,
                        size_t *, size_t, size_t *, CUstream)>("cuMemcpyBatchAsync", 12080);
  int *d = zeros_on_device<int>(1), x = 5;
  CUdeviceptr to = (CUdeviceptr)d, from = (CUdeviceptr)&x;
  size_t bytes = sizeof x, first = 0, failed = 0;
  CUmemcpyAttributes how = {};
  how.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
  EXPECT(batch(&to, &from, &bytes, 1, &how, &first, 1, &failed, (CUstream)stream) == 0);
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(to_host(d, 1)[0] == 5);
}

int main() {
  CHECK(cudaStreamCreate(&stream));
  batches();
  boxes();
  boxes_between_devices();
  advice();
  older_forms();
  return verdict();
}
