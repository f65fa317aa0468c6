/* contexts.c: the context stack of each thread, primary contexts, devices' facts. */
#include <pthread.h>

#include "driver.h"

static CUcontext current(void) {
  CUcontext context;
  OK(cuCtxGetCurrent(&context));
  return context;
}

static void before_init(void) {
  CUcontext context;
  int value;
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&value));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuCtxGetCurrent(&context));
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuDriverGetVersion(&value));
  EXPECT(value >= 12000 && value < 14000);
  GIVES(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&value));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuInit(1));
}

static void devices(void) {
  char name[256], pci[32];
  size_t bytes;
  int count, value;
  CUdevice device = 7;
  CUuuid uuid;
  OK(cuDeviceGetCount(&count));
  EXPECT(count == 1);
  OK(cuDeviceGet(&device, 0));
  EXPECT(device == 0);
  GIVES(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, 1));
  GIVES(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, -1));
  OK(cuDeviceGetName(name, sizeof name, 0));
  EXPECT(strstr(name, "Software"));
  OK(cuDeviceGetName(pci, 4, 0));
  EXPECT(strlen(pci) == 3 && !strncmp(name, pci, 3));
  OK(cuDeviceTotalMem_v2(&bytes, 0));
  EXPECT(bytes > 0);
  OK(cuDeviceGetUuid_v2(&uuid, 0));
  OK(cuDeviceGetPCIBusId(pci, sizeof pci, 0));
  OK(cuDeviceGetByPCIBusId(&device, pci));
  EXPECT(device == 0);
  GIVES(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetByPCIBusId(&device, "ffff:ff:1f.0"));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuDeviceGetByPCIBusId(&device, "rubbish"));
  OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
  EXPECT(value == 32);
  OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 0));
  EXPECT(value == 1);
  OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0));
  EXPECT(value == 1);
  OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 0));
  EXPECT(value == 0);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, 9999, 0));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, 0, 0));
}

static void without_a_context(void) {
  CUdeviceptr address;
  CUstream stream;
  CUdevice device;
  CUcontext context;
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&address, 16));
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuStreamCreate(&stream, 0));
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxGetDevice(&device));
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent_v2(&context));
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuStreamSynchronize(NULL));
  EXPECT(!current());
}

static void primary(void) {
  CUcontext a, b;
  unsigned flags;
  int active;
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EXPECT(!active && !flags);
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease_v2(0));
  OK(cuDevicePrimaryCtxSetFlags_v2(0, CU_CTX_SCHED_BLOCKING_SYNC));
  OK(cuDevicePrimaryCtxRetain(&a, 0));
  OK(cuDevicePrimaryCtxRetain(&b, 0));
  EXPECT(a == b && a);
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EXPECT(active && flags == CU_CTX_SCHED_BLOCKING_SYNC);
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy_v2(a));
  OK(cuDevicePrimaryCtxRelease_v2(0));
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EXPECT(active);
  OK(cuDevicePrimaryCtxRelease_v2(0));
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EXPECT(!active);
}

/* Releasing the last reference gives back what the context held. */
static void primary_ends(void) {
  CUcontext context;
  CUdeviceptr address;
  CUstream stream;
  size_t before, after, total;
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuMemGetInfo_v2(&before, &total));
  OK(cuMemAlloc_v2(&address, 32 << 20));
  OK(cuStreamCreate(&stream, 0));
  OK(cuDevicePrimaryCtxReset_v2(0));
  OK(cuMemGetInfo_v2(&after, &total));
  EXPECT(after == before);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(address));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(stream));
  OK(cuMemAlloc_v2(&address, 1 << 20));
  OK(cuMemsetD8_v2(address, 1, 1 << 20));
  OK(cuCtxSynchronize());
  OK(cuMemFree_v2(address));
  OK(cuDevicePrimaryCtxRelease_v2(0));
  OK(cuCtxSetCurrent(NULL));
}

static void stack(CUcontext p) {
  CUcontext made, popped;
  unsigned long long id_p, id_made;
  CUdevice device;
  unsigned version;
  OK(cuCtxSetCurrent(NULL));
  EXPECT(!current());
  OK(cuCtxPushCurrent_v2(p));
  OK(cuCtxCreate_v2(&made, 0, 0));
  EXPECT(current() == made && made != p);
  OK(cuCtxGetId(NULL, &id_made));
  OK(cuCtxGetId(p, &id_p));
  EXPECT(id_p != id_made);
  OK(cuCtxGetApiVersion(made, &version));
  EXPECT(version >= 3010);
  OK(cuCtxGetDevice(&device));
  EXPECT(device == 0);
  for (int i = 0; i < 100; i++) OK(cuCtxPushCurrent_v2(i % 2 ? p : made));
  for (int i = 99; i >= 0; i--) {
    OK(cuCtxPopCurrent_v2(&popped));
    EXPECT(popped == (i % 2 ? p : made));
  }
  EXPECT(current() == made);
  OK(cuCtxDestroy_v2(made));
  EXPECT(current() == p);
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxPushCurrent_v2(made));
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent((CUcontext)&made));
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent((CUcontext)0x1234));
  OK(cuCtxSetCurrent(NULL));
  EXPECT(!current());
  OK(cuCtxSetCurrent(p));
}

/* Memory of one context is used from another thread, in a context of its own. */
static void *other_thread(void *user) {
  CUcontext p = user, made;
  CUdeviceptr address;
  EXPECT(!current());
  GIVES(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&address, 16));
  OK(cuCtxCreate_v2(&made, 0, 0));
  OK(cuMemAlloc_v2(&address, 4096));
  OK(cuMemsetD8_v2(address, 3, 4096));
  OK(cuCtxSynchronize());
  OK(cuMemFree_v2(address));
  OK(cuCtxPushCurrent_v2(p));
  OK(cuCtxDestroy_v2(made));
  return NULL;
}

/* A context that was destroyed while another thread had it current. */
static void *destroyer(void *user) {
  OK(cuCtxDestroy_v2(user));
  return NULL;
}

static void in_thread(void *(*function)(void *), void *user) {
  pthread_t thread;
  EXPECT(!pthread_create(&thread, NULL, function, user));
  pthread_join(thread, NULL);
}

static void destroyed_elsewhere(void) {
  CUcontext made, popped;
  CUdeviceptr address;
  OK(cuCtxCreate_v2(&made, 0, 0));
  in_thread(destroyer, made);
  GIVES(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuMemAlloc_v2(&address, 16));
  OK(cuCtxPopCurrent_v2(&popped));
}

int main(void) {
  CUcontext p;
  before_init();
  OK(cuInit(0));
  OK(cuInit(0));
  devices();
  without_a_context();
  primary();
  primary_ends();
  p = start();
  stack(p);
  in_thread(other_thread, p);
  EXPECT(current() == p);
  destroyed_elsewhere();
  puts("contexts: done");
  return 0;
}
