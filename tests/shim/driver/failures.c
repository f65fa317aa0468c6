/* failures.c: what a failed call leaves behind, and arguments that cannot be meant. */
#include <stdint.h>
#include <unistd.h>

#include "driver.h"

static const char image[] = ".version 7.0\n.target sm_52\n.address_size 64\n"
                            ".visible .entry nothing(.param .u32 n)\n{\n  ret;\n}\n";

static size_t free_memory(void) {
  size_t free_bytes, total;
  OK(cuMemGetInfo_v2(&free_bytes, &total));
  return free_bytes;
}

/* A posted call that fails: the next call that waits says so instead of doing its work. */
static void fail_later(void) { OK(cuMemsetD8Async(0x1000, 0, 16, NULL)); }

/* Memory whose freeing only brought an earlier failure can be freed again. */
static void freed_after_all(void) {
  size_t before = free_memory();
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, 8 << 20));
  fail_later();
  EXPECT(cuMemFree_v2(p) != CUDA_SUCCESS);
  OK(cuMemFree_v2(p));
  EXPECT(free_memory() == before);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p));
}

/* A reset happens whatever came before it: on both sides nothing is left. */
static void reset_after_all(void) {
  size_t before = free_memory();
  CUdeviceptr p;
  CUstream stream;
  CUevent event;
  OK(cuMemAlloc_v2(&p, 8 << 20));
  OK(cuStreamCreate(&stream, 0));
  OK(cuEventCreate(&event, 0));
  fail_later();
  OK(cuDevicePrimaryCtxReset_v2(0));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamQuery(stream));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p));
  OK(cuStreamCreate(&stream, 0));
  OK(cuEventCreate(&event, 0));
  OK(cuEventRecord(event, stream));
  OK(cuCtxSynchronize());
  EXPECT(free_memory() == before);
}

static void copies_beyond(void) {
  static char bytes[4096];
  void *pinned;
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, 4096));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(p, bytes, SIZE_MAX));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(p + 1, bytes, 4096));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(bytes, p, SIZE_MAX / 2));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(bytes, p + 4000, 97));
  OK(cuMemcpyDtoH_v2(bytes, p + 4000, 96));
  CUDA_MEMCPY2D tall = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = bytes,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = p,
                        .srcPitch = 64,
                        .dstPitch = (size_t)1 << 40,
                        .WidthInBytes = 32,
                        .Height = (size_t)1 << 40};
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&tall));
  OK(cuMemcpyHtoD_v2(p, bytes, 0));
  OK(cuMemFree_v2(p));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister_v2(bytes, SIZE_MAX, 0));
  OK(cuMemHostAlloc(&pinned, 16, 0));
  OK(cuMemFreeHost(pinned));
}

static void packed_parameters(void) {
  CUmodule module;
  CUfunction f;
  uint32_t packed = 1;
  size_t size = sizeof packed;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                   CU_LAUNCH_PARAM_END};
  OK(cuModuleLoadData(&module, image));
  OK(cuModuleGetFunction(&f, module, "nothing"));
  OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
  size = SIZE_MAX - 16;
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
  size = UINT32_MAX - 64;
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
  OK(cuCtxSynchronize());
  OK(cuModuleUnload(module));
}

/* Memory of a pool that is freed without a stream is the pool's again. */
static void pool_memory(void) {
  CUmemoryPool pool;
  CUdeviceptr p;
  uint64_t used;
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuMemAllocAsync(&p, 4096, NULL));
  OK(cuMemFree_v2(p));
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
  EXPECT(used == 0);
}

int main(void) {
  start();
  freed_after_all();
  reset_after_all();
  copies_beyond();
  packed_parameters();
  pool_memory();
  puts("failures: done");
  return 0;
}
