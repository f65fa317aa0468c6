// Ways to move bytes: pitched rows, boxes, odd and empty sizes, offsets, fills of every width, host
// memory that the device sees, allocation in stream order, pointer attributes.
#include "sample.h"

__global__ void add_rows(char *base, size_t pitch, int width, int height) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < width && y < height) ((float *)(base + y * pitch))[x] += y * 1000 + x;
}

static void pitched(int width, int height) {
  float *d;
  size_t pitch, bytes = width * sizeof(float);
  CHECK(cudaMallocPitch(&d, &pitch, bytes, height));
  EXPECT(pitch >= bytes && pitch % 32 == 0);
  auto a = random_reals(width * height);
  std::vector<float> b(width * height), part(4 * 3, -1);
  CHECK(cudaMemcpy2D(d, pitch, a.data(), bytes, bytes, height, cudaMemcpyHostToDevice));
  add_rows<<<dim3((width + 31) / 32, (height + 7) / 8), dim3(32, 8)>>>((char *)d, pitch, width,
                                                                       height);
  CHECK(cudaMemcpy2D(b.data(), bytes, d, pitch, bytes, height, cudaMemcpyDeviceToHost));
  for (int i = 0; i < width * height; i++) EXPECT(b[i] == a[i] + (i / width * 1000 + i % width));
  CHECK(cudaMemset2D(d, pitch, 0, 2 * sizeof(float), 3));
  CHECK(cudaMemcpy2D(part.data(), 16, d, pitch, 12, 3, cudaMemcpyDeviceToHost));
  for (int y = 0; y < 3; y++)
    EXPECT(part[y * 4] == 0 && part[y * 4 + 1] == 0 && part[y * 4 + 2] == b[y * width + 2] &&
           part[y * 4 + 3] == -1);
  EXPECT(cudaMemcpy2D(b.data(), bytes - 4, d, pitch, bytes, height, cudaMemcpyDeviceToHost) ==
         cudaErrorInvalidPitchValue);
  cudaGetLastError();
  CHECK(cudaFree(d));
}

static void boxes() { // a box out of the middle of one volume into the middle of another
  const int w = 20, h = 12, depth = 6;
  std::vector<int> a(w * h * depth), b(w * h * depth);
  for (size_t i = 0; i < a.size(); i++) a[i] = (int)i;
  cudaPitchedPtr d;
  cudaExtent all = make_cudaExtent(w * sizeof(int), h, depth);
  CHECK(cudaMalloc3D(&d, all));
  CHECK(cudaMemset3D(d, 0xff, all));
  cudaMemcpy3DParms p = {};
  p.srcPtr = make_cudaPitchedPtr(a.data(), w * sizeof(int), w, h);
  p.dstPtr = d;
  p.srcPos = make_cudaPos(3 * sizeof(int), 2, 1), p.dstPos = make_cudaPos(5 * sizeof(int), 4, 2);
  p.extent = make_cudaExtent(9 * sizeof(int), 5, 3);
  p.kind = cudaMemcpyHostToDevice;
  CHECK(cudaMemcpy3D(&p));
  p = {};
  p.srcPtr = d, p.dstPtr = make_cudaPitchedPtr(b.data(), w * sizeof(int), w, h), p.extent = all;
  p.kind = cudaMemcpyDeviceToHost;
  CHECK(cudaMemcpy3DAsync(&p, 0));
  CHECK(cudaDeviceSynchronize());
  int wrong = 0;
  for (int z = 0; z < depth; z++)
    for (int y = 0; y < h; y++)
      for (int x = 0; x < w; x++) {
        bool in = x >= 5 && x < 14 && y >= 4 && y < 9 && z >= 2 && z < 5;
        int want = in ? a[((z - 1) * h + y - 2) * w + x - 2] : -1;
        wrong += b[(z * h + y) * w + x] != want;
      }
  EXPECT(wrong == 0);
  CHECK(cudaFree(d.ptr));
}

static void sizes() {
  const size_t n = (5 << 20) + 3;
  std::vector<unsigned char> a(n), b(n);
  Random random;
  for (auto &x : a) x = random.next();
  unsigned char *d = zeros_on_device<unsigned char>(n), *e = zeros_on_device<unsigned char>(n);
  for (size_t size :
       {(size_t)0, (size_t)1, (size_t)3, (size_t)4095, (size_t)32769, (size_t)1 << 20, n - 5}) {
    CHECK(cudaMemset(d, 0x11, n));
    CHECK(cudaMemcpy(d + 5, a.data() + 1, size < n - 5 ? size : n - 5, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(e, d, n, cudaMemcpyDeviceToDevice));
    CHECK(cudaMemcpy(b.data(), e, n, cudaMemcpyDefault));
    EXPECT(b[4] == 0x11 && memcmp(b.data() + 5, a.data() + 1, size) == 0);
    EXPECT(size + 5 >= n || b[size + 5] == 0x11);
  }
  CHECK(cudaMemcpy(nullptr, nullptr, 0, cudaMemcpyHostToDevice));
  CHECK(cudaMemset(d, 1, 0));
  CHECK(cudaMemsetAsync(d + 1, 0xab, 7, 0));
  CHECK(cudaMemcpy(b.data(), d, 16, cudaMemcpyDeviceToHost));
  EXPECT(b[0] == 0x11 && b[1] == 0xab && b[7] == 0xab && b[8] != 0xab);
  void *none = &none;
  EXPECT(cudaMalloc(&none, 0) == cudaSuccess && none == nullptr);
  CHECK(cudaFree(nullptr));
  CHECK(cudaMemcpy(a.data(), b.data(), 1000, cudaMemcpyHostToHost));
  EXPECT(memcmp(a.data(), b.data(), 1000) == 0);
}

__global__ void increment(int *x, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) x[i]++;
}

static void host_memory() {
  const int n = 1000;
  int *pinned, *d;
  std::vector<int> own(n, 3);
  CHECK(cudaMallocHost(&pinned, n * sizeof(int)));
  cudaPointerAttributes a;
  CHECK(cudaPointerGetAttributes(&a, pinned + 7));
  EXPECT(a.type == cudaMemoryTypeHost && a.hostPointer == pinned + 7);
  CHECK(cudaPointerGetAttributes(&a, own.data()));
  EXPECT(a.type == cudaMemoryTypeUnregistered);
  CHECK(cudaMalloc(&d, n * sizeof(int)));
  CHECK(cudaPointerGetAttributes(&a, d + 1));
  EXPECT(a.type == cudaMemoryTypeDevice && a.device == 0 && a.devicePointer == d + 1);
  CHECK(cudaHostRegister(own.data(), n * sizeof(int), cudaHostRegisterDefault));
  CHECK(cudaMemcpyAsync(d, own.data(), n * sizeof(int), cudaMemcpyHostToDevice));
  increment<<<1, 64>>>(d, n);
  CHECK(cudaMemcpyAsync(pinned, d, n * sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(cudaDeviceSynchronize());
  for (int i = 0; i < n; i++) EXPECT(pinned[i] == 4);
  CHECK(cudaHostUnregister(own.data()));
  CHECK(cudaFreeHost(pinned));
}

static void in_stream_order() {
  cudaStream_t s;
  CHECK(cudaStreamCreate(&s));
  int *x, *y, n = 5000;
  std::vector<int> out(n);
  for (int round = 0; round < 5; round++) {
    CHECK(cudaMallocAsync(&x, n * sizeof(int), s));
    CHECK(cudaMallocAsync(&y, n * sizeof(int), s));
    CHECK(cudaMemsetAsync(x, 0, n * sizeof(int), s));
    increment<<<1, 128, 0, s>>>(x, n);
    CHECK(cudaMemcpyAsync(y, x, n * sizeof(int), cudaMemcpyDeviceToDevice, s));
    CHECK(cudaFreeAsync(x, s));
    increment<<<1, 128, 0, s>>>(y, n);
    CHECK(cudaMemcpyAsync(out.data(), y, n * sizeof(int), cudaMemcpyDeviceToHost, s));
    CHECK(cudaFreeAsync(y, s));
    CHECK(cudaStreamSynchronize(s));
    EXPECT(out == std::vector<int>(n, 2));
  }
  cudaMemPool_t pool;
  uint64_t keep = 1 << 20, kept = 0;
  CHECK(cudaDeviceGetDefaultMemPool(&pool, 0));
  CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept));
  EXPECT(kept == keep);
  CHECK(cudaMemPoolTrimTo(pool, 0));
  size_t before, after, all;
  CHECK(cudaMemGetInfo(&before, &all));
  CHECK(cudaMalloc(&x, 64 << 20));
  CHECK(cudaMemGetInfo(&after, &all));
  EXPECT(before <= all && before - after >= 64 << 20);
  CHECK(cudaFree(x));
  EXPECT(cudaMalloc(&x, all * 4) == cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
}

int main() {
  pitched(100, 50);
  pitched(65, 9);
  boxes();
  sizes();
  host_memory();
  in_stream_order();
  return verdict();
}
