// Exits with status 7 while threads of it copy, both ways, pinned and pageable: an exit is an exit.
// By the driver's own calls: the runtime's are gone by then. Argument 2: milliseconds until then.
#include "program.h"
#include <atomic>
#include <chrono>
#include <cuda.h>
#include <dlfcn.h>
#include <thread>

static const size_t BYTES = 24 << 20;
static std::atomic<int> copying;

#define DRIVER(name) reinterpret_cast<decltype(&name)>(dlsym(driver, #name))

// The driver may be gone under it: what a copy returns then is of no matter.
static void copy_for_ever(void *driver, CUcontext context, unsigned seed) {
  auto in = DRIVER(cuMemcpyHtoD_v2);
  auto out = DRIVER(cuMemcpyDtoH_v2);
  void *host = calloc(BYTES, 1); // never freed: an exit takes nothing from under a copy
  CUdeviceptr device;
  EXPECT(!DRIVER(cuCtxSetCurrent)(context) && !DRIVER(cuMemAlloc_v2)(&device, BYTES));
  if (seed & 1) EXPECT(!DRIVER(cuMemHostAlloc)(&host, BYTES, 0));
  copying++;
  for (;;) seed & 2 ? in(device, host, BYTES) : out(host, device, BYTES);
}

int main(int argc, char **argv) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  CUcontext context;
  EXPECT(driver && !DRIVER(cuInit)(0) && !DRIVER(cuDevicePrimaryCtxRetain)(&context, 0));
  for (unsigned seed = 0; seed < 4; seed++)
    std::thread(copy_for_ever, driver, context, seed).detach();
  while (copying < 4) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(argc > 2 ? atoi(argv[2]) : 30));
  puts("leaving: now");
  exit(7);
}
