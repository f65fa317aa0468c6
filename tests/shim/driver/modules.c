/* modules.c: images, functions with their layouts, launches, failures of all three kinds. */
#include "driver.h"

static const char image[] =
    ".version 7.0\n.target sm_52\n.address_size 64\n"
    ".visible .global .align 4 .u32 counter;\n"
    ".visible .entry store(.param .u64 to, .param .u8 small, .param .align 8 .b8 box[24],\n"
    "                      .param .u32 value)\n"
    "{\n"
    "  .reg .b64 %rd<4>; .reg .b32 %r<8>;\n"
    "  ld.param.u64 %rd1, [to];\n"
    "  ld.param.u8 %r1, [small];\n"
    "  ld.param.u32 %r2, [box+16];\n"
    "  ld.param.u32 %r3, [value];\n"
    "  add.u32 %r4, %r1, %r2;\n"
    "  add.u32 %r5, %r4, %r3;\n"
    "  mov.u32 %r6, %tid.x;\n"
    "  mul.wide.u32 %rd2, %r6, 4;\n"
    "  add.u64 %rd3, %rd1, %rd2;\n"
    "  st.global.u32 [%rd3], %r5;\n"
    "  ret;\n"
    "}\n"
    ".visible .entry nothing()\n{\n  ret;\n}\n";

typedef struct box {
  uint64_t a, b;
  uint32_t c, d;
} box;

static CUdeviceptr d;

static unsigned result(unsigned at) {
  unsigned value;
  OK(cuMemcpyDtoH_v2(&value, d + 4 * (size_t)at, 4));
  return value;
}

static void layouts(CUlibrary library, CUkernel *store) {
  static const size_t offsets[] = {0, 8, 16, 40}, sizes[] = {8, 1, 24, 4};
  CUkernel again;
  size_t offset, size;
  const char *name;
  int value;
  OK(cuLibraryGetKernel(store, library, "store"));
  OK(cuLibraryGetKernel(&again, library, "store"));
  EXPECT(again == *store);
  GIVES(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&again, library, "stor"));
  GIVES(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&again, library, "stores"));
  OK(cuKernelGetName(&name, *store));
  EXPECT(!strcmp(name, "store"));
  for (size_t i = 0; i < 4; i++) {
    OK(cuKernelGetParamInfo(*store, i, &offset, &size));
    EXPECT(offset == offsets[i] && size == sizes[i]);
  }
  GIVES(CUDA_ERROR_INVALID_VALUE, cuKernelGetParamInfo(*store, 4, &offset, &size));
  OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, (CUfunction)*store));
  EXPECT(value >= 32 && value <= 1024);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuFuncGetAttribute(&value, 99, (CUfunction)*store));
}

static void launches(CUfunction f) {
  unsigned char small = 3;
  box b = {1, 2, 1000, 4};
  unsigned value = 500000;
  void *params[] = {&d, &small, &b, &value};
  OK(cuMemsetD32_v2(d, 0, 64));
  OK(cuLaunchKernel(f, 1, 1, 1, 8, 1, 1, 0, NULL, params, NULL));
  EXPECT(result(0) == 501003 && result(7) == 501003 && result(8) == 0);

  char packed[44] = {0};
  size_t bytes = sizeof packed;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  memcpy(packed, &d, 8), packed[8] = 1, memcpy(packed + 16, &b, 24), memcpy(packed + 40, &value, 4);
  OK(cuLaunchKernel(f, 1, 1, 1, 4, 1, 1, 0, NULL, NULL, extra));
  EXPECT(result(3) == 501001 && result(4) == 501003);

  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PRIORITY, .value.priority = 0};
  CUlaunchConfig config = {1, 1, 1, 2, 1, 1, 0, NULL, &attribute, 1};
  value = 7;
  OK(cuLaunchKernelEx(&config, f, params, NULL));
  EXPECT(result(1) == 1010 && result(2) == 501001);
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 0, 1, 1, 8, 1, 1, 0, NULL, params, NULL));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1025, 1, 1, 0, NULL, params, NULL));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 64, 64, 1, 0, NULL, params, NULL));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 8, 1, 1, 0, NULL, NULL, NULL));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 8, 1, 1, 0, NULL, params, extra));
}

static void bad_images(void) {
  CUmodule module;
  CUlibrary library;
  char cut[64] = "\177ELF\2\1\1";
  GIVES(CUDA_ERROR_INVALID_IMAGE, cuModuleLoadData(&module, "\1\2\3 rubbish"));
  GIVES(CUDA_ERROR_INVALID_IMAGE, cuModuleLoadData(&module, cut));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(&module, NULL));
  GIVES(CUDA_ERROR_INVALID_PTX, cuModuleLoadData(&module, ".version 7.0\nthis is no PTX\n"));
  GIVES(CUDA_ERROR_INVALID_IMAGE, cuLibraryLoadData(&library, cut, NULL, NULL, 0, NULL, NULL, 0));
}

static void variables(void) {
  CUmodule module;
  CUfunction f;
  CUdeviceptr counter;
  size_t bytes;
  unsigned value = 1234;
  OK(cuModuleLoadData(&module, image));
  OK(cuModuleGetGlobal_v2(&counter, &bytes, module, "counter"));
  EXPECT(bytes == 4);
  OK(cuMemcpyHtoD_v2(counter, &value, 4));
  value = 0;
  OK(cuMemcpyDtoH_v2(&value, counter, 4));
  EXPECT(value == 1234);
  GIVES(CUDA_ERROR_NOT_FOUND, cuModuleGetGlobal_v2(&counter, &bytes, module, "nothing_such"));
  OK(cuModuleGetFunction(&f, module, "nothing"));
  OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  OK(cuModuleUnload(module));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload(module));
  GIVES(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  OK(cuCtxSynchronize());
}

/* A posted call that fails is told once, by the next call that waits, which then does nothing. */
static void deferred(void) {
  CUdeviceptr other = 0;
  OK(cuMemsetD8_v2(0x1000, 1, 16));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&other, 16));
  EXPECT(!other);
  OK(cuMemAlloc_v2(&other, 16));
  OK(cuMemFree_v2(other));
}

/* A kernel that writes where nothing is ruins its context: every call on it says so. */
static void sticky(CUfunction f) {
  CUdeviceptr nowhere = 0x10, other;
  CUcontext current;
  unsigned char small = 0;
  box b = {0};
  unsigned value = 0;
  void *params[] = {&nowhere, &small, &b, &value};
  OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
  GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
  GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemAlloc_v2(&other, 16));
  GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
  GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamQuery(NULL));
  GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyHtoD_v2(d, &value, 4));
  OK(cuCtxGetCurrent(&current));
}

static void unsupported(void) {
  CUgraph graph;
  GIVES(CUDA_ERROR_NOT_SUPPORTED, cuGraphCreate(&graph, 0));
}

int main(void) {
  CUlibrary library;
  CUkernel store;
  CUfunction f;
  OK(cuInit(0));
  OK(cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0)); /* before any context */
  start();
  OK(cuMemAlloc_v2(&d, 4096));
  layouts(library, &store);
  OK(cuKernelGetFunction(&f, store));
  launches(f);
  launches((CUfunction)store);
  bad_images();
  variables();
  deferred();
  unsupported();
  sticky(f);
  puts("modules: done");
  return 0;
}
