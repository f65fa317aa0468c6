/* cuda.c: opens the driver library as any program would. */
#include "cuda.h"

#include <dlfcn.h>

#include "bench.h"

cuda_calls cuda;

void cuda_check(const char *what, CUresult result) {
  if (result != 0) bench_fail("%s returned CUresult %d", what, result);
}

static void bind_calls(void *library) {
#define BIND(name, symbol, arguments)                                                              \
  *(void **)&cuda.name = dlsym(library, symbol);                                                   \
  if (!cuda.name) bench_fail("libcuda.so.1 has no %s", symbol);
  CUDA_CALLS(BIND)
#undef BIND
}

void cuda_open(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  CUdevice device;
  CUcontext context;
  if (!library) bench_fail("%s", dlerror());
  bind_calls(library);
  cuda_check("cuInit", cuda.init(0));
  cuda_check("cuDeviceGet", cuda.device_get(&device, 0));
  cuda_check("cuDevicePrimaryCtxRetain", cuda.primary_retain(&context, device));
  cuda_check("cuCtxSetCurrent", cuda.set_current(context));
}
