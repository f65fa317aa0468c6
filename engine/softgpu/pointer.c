/* cuPointerGetAttribute(s): answers from the table of ranges. */
#include "memory.h"
#include "pool.h"
#include <string.h>

static bool on_host(const sg_range *r) {
  return r->kind == SG_RANGE_HOST || r->kind == SG_RANGE_REGISTERED;
}

static CUresult answer(void *data, CUpointer_attribute a, uintptr_t p, const sg_range *r) {
  switch (a) {
  case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = (CUcontext)r->context; break;
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    *(unsigned *)data = on_host(r) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    break;
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = p; break;
  case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    if (!on_host(r) && !r->managed) return CUDA_ERROR_INVALID_VALUE;
    *(void **)data = (void *)p;
    break;
  case CU_POINTER_ATTRIBUTE_BUFFER_ID: *(unsigned long long *)data = r->id; break;
  case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: *(unsigned *)data = 0; break;
  case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned *)data = r->managed; break;
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = r->device->ordinal; break;
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(CUdeviceptr *)data = r->base; break;
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)data = r->bytes; break;
  case CU_POINTER_ATTRIBUTE_MAPPED: *(unsigned *)data = 1; break;
  case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    *(unsigned *)data = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE;
    break;
  case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    *(CUmemoryPool *)data = r->kind == SG_RANGE_DEVICE ? r->owner : NULL;
    break;
  case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: *(unsigned long long *)data = 0; break;
  case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: *(unsigned char *)data = 0; break;
  default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}

CUresult sg_cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
  sg_range range;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!data) return CUDA_ERROR_INVALID_VALUE;
  if (!sg_memory_find(pointer, &range)) return CUDA_ERROR_INVALID_VALUE;
  return answer(data, attribute, pointer, &range);
}

static size_t size_of(CUpointer_attribute a) {
  switch (a) {
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
  case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
  case CU_POINTER_ATTRIBUTE_IS_MANAGED:
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
  case CU_POINTER_ATTRIBUTE_MAPPED:
  case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: return 4;
  case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: return 1;
  default: return 8;
  }
}

/* As documented: an unknown pointer gives zeros (and -2 for the device) instead of an error. */
CUresult sg_cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                   CUdeviceptr pointer) {
  sg_range range;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!attributes || !data) return CUDA_ERROR_INVALID_VALUE;
  bool known = sg_memory_find(pointer, &range);
  for (unsigned i = 0; i < count; i++) {
    memset(data[i], 0, size_of(attributes[i]));
    if (known)
      answer(data[i], attributes[i], pointer, &range);
    else if (attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
      *(int *)data[i] = -2;
  }
  return CUDA_SUCCESS;
}

CUresult sg_cuPointerSetAttribute(const void *value, CUpointer_attribute attribute,
                                  CUdeviceptr pointer) {
  sg_range range;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) return CUDA_ERROR_INVALID_VALUE;
  return sg_memory_find(pointer, &range) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
