/* Calls that tell a driver how memory and caches will be used. Here they are checked and have no
   effect: memory is the CPU's, and so are its caches. */
#include "memory.h"
#include "module.h"
#include "stream.h"

static CUresult known(CUdeviceptr pointer, size_t bytes) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  return sg_memory_covers(pointer, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sg_cuMemPrefetchAsync(CUdeviceptr pointer, size_t bytes, CUmemLocation location,
                               unsigned int flags, CUstream stream) {
  sg_context *c;
  sg_queue *q;
  (void)location, (void)flags;
  CUresult r = sg_enter_stream(stream, &c, &q);
  return r == CUDA_SUCCESS ? known(pointer, bytes) : r;
}

CUresult sg_cuMemAdvise(CUdeviceptr pointer, size_t bytes, CUmem_advise advice,
                        CUmemLocation location) {
  (void)advice, (void)location;
  return known(pointer, bytes);
}

CUresult sg_cuStreamAttachMemAsync(CUstream stream, CUdeviceptr pointer, size_t bytes,
                                   unsigned int flags) {
  sg_context *c;
  sg_queue *q;
  (void)flags;
  CUresult r = sg_enter_stream(stream, &c, &q);
  return r == CUDA_SUCCESS ? known(pointer, bytes ? bytes : 1) : r;
}

CUresult sg_cuCtxGetSharedMemConfig(CUsharedconfig *config) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !config) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *config = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
  return r;
}

CUresult sg_cuCtxSetSharedMemConfig(CUsharedconfig config) {
  sg_context *c;
  (void)config;
  return sg_enter(&c);
}

CUresult sg_cuFuncSetSharedMemConfig(CUfunction function, CUsharedconfig config) {
  (void)config;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  return sg_object_get(function, SG_KERNEL) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
