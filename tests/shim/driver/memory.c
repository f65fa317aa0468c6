/* memory.c: addresses, pinned memory, pools, and what is refused. */
#include <pthread.h>
#include <sys/mman.h>

#include "driver.h"

static uint64_t attribute(CUpointer_attribute which, CUdeviceptr address) {
  uint64_t value = 0;
  OK(cuPointerGetAttribute(&value, which, address));
  return value;
}

static void device_pointers(CUcontext context) {
  CUdeviceptr d, base;
  size_t bytes;
  OK(cuMemAlloc_v2(&d, 1000));
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, d + 999) == CU_MEMORYTYPE_DEVICE);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_CONTEXT, d) == (uintptr_t)context);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, d + 5) == d + 5);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, d + 5) == d);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_RANGE_SIZE, d) == 1000);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, d) == 0);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_IS_MANAGED, d) == 0);
  OK(cuMemGetAddressRange_v2(&base, &bytes, d + 999));
  EXPECT(base == d && bytes == 1000);
  GIVES(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange_v2(&base, &bytes, d + 100000));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(d + 8));
  OK(cuMemFree_v2(d));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(d));
  GIVES(CUDA_ERROR_INVALID_VALUE,
        cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, d));
  OK(cuMemFree_v2(0));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&d, 0));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(NULL, 16));
}

/* No host memory, old or new, lies where device memory can be. */
static void no_address_collides(void) {
  CUdeviceptr d;
  OK(cuMemAlloc_v2(&d, 64 << 20));
  void *wanted = (void *)(uintptr_t)d;
  void *at = mmap(wanted, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(at != MAP_FAILED && at != wanted);
  munmap(at, 4096);
  OK(cuMemFree_v2(d));
}

static void strangers(void) {
  int here = 7, ordinal = 3;
  unsigned type = 9;
  void *host = &here;
  CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                 CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                                 CU_POINTER_ATTRIBUTE_HOST_POINTER};
  void *data[] = {&type, &ordinal, &host};
  CUdeviceptr address = (CUdeviceptr)(uintptr_t)&here;
  GIVES(CUDA_ERROR_INVALID_VALUE,
        cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address));
  OK(cuPointerGetAttributes(3, which, data, address));
  EXPECT(type == 0 && ordinal == -2 && !host);
}

static void pinned(void) {
  void *p, *page;
  char back = 0;
  unsigned flags;
  CUdeviceptr d;
  OK(cuMemHostAlloc(&p, 100000, CU_MEMHOSTALLOC_PORTABLE));
  memset(p, 1, 100000);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)p + 50) == CU_MEMORYTYPE_HOST);
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_HOST_POINTER, (uintptr_t)p + 50) == (uintptr_t)p + 50);
  OK(cuMemHostGetFlags(&flags, p));
  EXPECT(flags == (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP));
  OK(cuMemHostGetDevicePointer_v2(&d, (char *)p + 99999, 0));
  OK(cuMemcpyDtoH_v2(&back, d, 1));
  EXPECT(back == 1);
  GIVES(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister_v2((char *)p + 10, 10, 0));
  GIVES(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(p));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost((char *)p + 8));
  OK(cuMemFreeHost(p));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(p));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(&p, 16, 0x100));
  OK(cuMemHostAlloc(&p, 5000, CU_MEMHOSTALLOC_DEVICEMAP)); /* one address for both */
  OK(cuMemHostGetDevicePointer_v2(&d, p, 0));
  EXPECT(d == (uintptr_t)p && attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, d) == CU_MEMORYTYPE_HOST);
  memset(p, 7, 5000);
  OK(cuMemsetD8_v2(d + 10, 8, 10));
  EXPECT(((char *)p)[9] == 7 && ((char *)p)[10] == 8 && ((char *)p)[20] == 7);
  OK(cuMemFreeHost(p));
  page = malloc(8192);
  OK(cuMemHostRegister_v2(page, 8192, 0));
  GIVES(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister_v2(page, 8192, 0));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(page));
  OK(cuMemHostUnregister(page));
  GIVES(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(page));
  free(page);
}

/* Freeing waits for copies that still need the memory. */
static void freed_while_copying(void) {
  const size_t bytes = 24 << 20;
  CUdeviceptr d;
  CUstream stream;
  void *p;
  unsigned char *back = malloc(bytes);
  OK(cuMemAlloc_v2(&d, bytes));
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  for (int round = 0; round < 3; round++) {
    OK(cuMemHostAlloc(&p, bytes, 0));
    memset(p, 10 + round, bytes);
    OK(cuMemsetD8Async(d, 0x77, bytes, stream));
    OK(cuMemcpyDtoHAsync_v2(p, d, bytes, stream));
    OK(cuMemcpyHtoDAsync_v2(d, p, bytes, stream)); /* of what the copy before brings: pulled */
    OK(cuMemFreeHost(p));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH_v2(back, d, bytes));
    for (size_t i = 0; i < bytes; i++) EXPECT(back[i] == 0x77);
  }
  free(back);
  OK(cuStreamDestroy_v2(stream));
  OK(cuMemFree_v2(d));
}

static void pitched(void) {
  CUdeviceptr d;
  size_t pitch;
  OK(cuMemAllocPitch_v2(&d, &pitch, 1000, 7, 4));
  EXPECT(pitch >= 1000 && pitch % 256 == 0);
  OK(cuMemFree_v2(d));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch_v2(&d, &pitch, 1000, 7, 3));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch_v2(&d, &pitch, SIZE_MAX - 5, 7, 4));
}

static void pools(void) {
  CUmemoryPool pool;
  CUstream stream;
  CUdeviceptr d;
  uint64_t threshold = UINT64_MAX, used, high;
  unsigned char back[64];
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
  threshold = 0;
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
  EXPECT(threshold == UINT64_MAX);
  OK(cuStreamCreate(&stream, 0));
  OK(cuMemAllocAsync(&d, 1 << 20, stream));
  EXPECT(attribute(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, d) == (uintptr_t)pool);
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
  EXPECT(used == 1 << 20);
  OK(cuMemsetD8Async(d, 9, 1 << 20, stream));
  OK(cuMemcpyDtoHAsync_v2(back, d + 1000, sizeof back, stream));
  OK(cuMemFreeAsync(d, stream));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(d, stream));
  OK(cuStreamSynchronize(stream));
  EXPECT(back[0] == 9 && back[63] == 9);
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &high));
  EXPECT(used == 0 && high == 1 << 20);
  GIVES(CUDA_ERROR_INVALID_VALUE,
        cuMemPoolGetAttribute((CUmemoryPool)&used, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &high));
}

/* The quota is exact, and freeing gives it back at once. */
static void quota(void) {
  size_t all, left, total;
  CUdeviceptr d, e;
  OK(cuMemGetInfo_v2(&all, &total));
  EXPECT(all <= total);
  GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&d, all + 1));
  GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&d, (size_t)1 << 60));
  OK(cuMemAlloc_v2(&d, all));
  OK(cuMemGetInfo_v2(&left, &total));
  EXPECT(left == 0);
  GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&e, 1));
  OK(cuMemFree_v2(d));
  OK(cuMemGetInfo_v2(&left, &total));
  EXPECT(left == all);
}

static void *worker(void *user) {
  CUdeviceptr d[16];
  char byte;
  OK(cuCtxSetCurrent(user));
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 16; i++) {
      OK(cuMemAlloc_v2(&d[i], (size_t)(i + 1) * 700));
      OK(cuMemsetD8_v2(d[i], (unsigned char)i, (size_t)(i + 1) * 700));
    }
    for (int i = 0; i < 16; i++) {
      OK(cuMemcpyDtoH_v2(&byte, d[i] + 600, 1));
      EXPECT(byte == i);
      OK(cuMemFree_v2(d[i]));
    }
  }
  return NULL;
}

static void threads(CUcontext context) {
  pthread_t all[8];
  for (int i = 0; i < 8; i++) EXPECT(!pthread_create(&all[i], NULL, worker, context));
  for (int i = 0; i < 8; i++) pthread_join(all[i], NULL);
}

int main(void) {
  CUcontext context = start();
  device_pointers(context);
  no_address_collides();
  strangers();
  pinned();
  freed_while_copying();
  pitched();
  pools();
  quota();
  threads(context);
  quota();
  puts("memory: done");
  return 0;
}
