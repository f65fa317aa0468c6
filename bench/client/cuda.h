/* cuda.h: the part of the CUDA driver API that the measuring program calls, bound at run time to
 * whatever libcuda.so.1 the machine offers. Signatures: CUDA driver API reference, 13.0.
 * Must not know: that a Remora exists. */
#ifndef BENCH_CUDA_H
#define BENCH_CUDA_H

#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;

/* X(name in this program, exported symbol, arguments) */
#define CUDA_CALLS(X)                                                                              \
  X(init, "cuInit", (unsigned flags))                                                              \
  X(device_get, "cuDeviceGet", (CUdevice * device, int ordinal))                                   \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))            \
  X(set_current, "cuCtxSetCurrent", (CUcontext context))                                           \
  X(synchronize, "cuCtxSynchronize", (void))                                                       \
  X(get_limit, "cuCtxGetLimit", (size_t *value, int limit))                                        \
  X(mem_alloc, "cuMemAlloc_v2", (CUdeviceptr * memory, size_t bytes))                              \
  X(mem_free, "cuMemFree_v2", (CUdeviceptr memory))                                                \
  X(host_alloc, "cuMemHostAlloc", (void **memory, size_t bytes, unsigned flags))                   \
  X(host_free, "cuMemFreeHost", (void *memory))                                                    \
  X(copy_htod, "cuMemcpyHtoD_v2", (CUdeviceptr to, const void *from, size_t bytes))                \
  X(copy_dtoh, "cuMemcpyDtoH_v2", (void *to, CUdeviceptr from, size_t bytes))                      \
  X(memset_d8, "cuMemsetD8Async",                                                                  \
    (CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream))                      \
  X(event_create, "cuEventCreate", (CUevent * event, unsigned flags))                              \
  X(event_record, "cuEventRecord", (CUevent event, CUstream stream))                               \
  X(stream_create, "cuStreamCreate", (CUstream * stream, unsigned flags))                          \
  X(stream_synchronize, "cuStreamSynchronize", (CUstream stream))                                  \
  X(stream_wait_event, "cuStreamWaitEvent", (CUstream stream, CUevent event, unsigned flags))      \
  X(module_load, "cuModuleLoadData", (CUmodule * module, const void *image))                       \
  X(module_function, "cuModuleGetFunction",                                                        \
    (CUfunction * function, CUmodule module, const char *name))                                    \
  X(launch, "cuLaunchKernel",                                                                      \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,     \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream,                   \
     void **parameters, void **extra))

typedef struct cuda_calls {
#define FIELD(name, symbol, arguments) CUresult(*name) arguments;
  CUDA_CALLS(FIELD)
#undef FIELD
} cuda_calls;

extern cuda_calls cuda;

/* Opens libcuda.so.1, binds every call, and makes device 0's primary context current. */
void cuda_open(void);
/* Ends the program with the call's name unless the result is CUDA_SUCCESS. */
void cuda_check(const char *what, CUresult result);

#endif
