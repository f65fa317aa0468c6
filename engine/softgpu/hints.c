/* Calls that tell a driver how memory and caches will be used. Here they are checked, kept for who
   asks, and have no effect: memory is the CPU's, and so are its caches. */
#include "../../shim/runtime/advice.h"
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
  CUresult r = sg_enter_stream(stream, &c, &q);
  if (r == CUDA_SUCCESS && flags) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) r = known(pointer, bytes);
  return r == CUDA_SUCCESS ? advice_prefetched(pointer, bytes, location) : r;
}

CUresult sg_cuMemPrefetchBatchAsync(CUdeviceptr *pointers, size_t *bytes, size_t count,
                                    CUmemLocation *locations, size_t *firsts, size_t places,
                                    unsigned long long flags, CUstream stream) {
  if (!pointers || !bytes || !locations || !firsts || !count || !places || firsts[0] || flags)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = CUDA_SUCCESS;
  for (size_t i = 0, place = 0; i < count && r == CUDA_SUCCESS; i++) {
    if (place + 1 < places && firsts[place + 1] == i) place++;
    r = sg_cuMemPrefetchAsync(pointers[i], bytes[i], locations[place], 0, stream);
  }
  return r;
}

CUresult sg_cuMemAdvise(CUdeviceptr pointer, size_t bytes, CUmem_advise advice,
                        CUmemLocation location) {
  CUresult r = known(pointer, bytes);
  return r == CUDA_SUCCESS ? advice_set(pointer, bytes, advice, location) : r;
}

CUresult sg_cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute attribute,
                                   CUdeviceptr pointer, size_t bytes) {
  sg_range range;
  CUresult r = known(pointer, bytes);
  if (r == CUDA_SUCCESS && !(sg_memory_find(pointer, &range) && range.managed))
    r = CUDA_ERROR_INVALID_VALUE;
  return r == CUDA_SUCCESS ? advice_get(data, size, attribute, pointer, bytes) : r;
}

CUresult sg_cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes,
                                    size_t count, CUdeviceptr pointer, size_t bytes) {
  if (!data || !sizes || !attributes || !count) return CUDA_ERROR_INVALID_VALUE;
  CUresult r = CUDA_SUCCESS;
  for (size_t i = 0; i < count && r == CUDA_SUCCESS; i++)
    r = sg_cuMemRangeGetAttribute(data[i], sizes[i], attributes[i], pointer, bytes);
  return r;
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
