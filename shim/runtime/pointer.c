/* pointer.c: what an address is, from the table of ranges. */
#include <string.h>

#include "ranges.h"
#include "session.h"
#include "shared.h"
#include "../generated/local.h"

/* Writes a value of the attribute's size; all are fixed by the driver API's documentation. */
#define PUT(type, value)                                                                           \
  do {                                                                                             \
    type put = (type)(value);                                                                      \
    memcpy(data, &put, sizeof put);                                                                \
    return CUDA_SUCCESS;                                                                           \
  } while (0)

static CUresult attribute_of(void *data, CUpointer_attribute attribute, uint64_t address,
                             const rm_range *r) {
  bool pinned = rm_range_pinned(r);
  switch ((int)attribute) {
  case CU_POINTER_ATTRIBUTE_CONTEXT: PUT(CUcontext, (void *)r->context);
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    PUT(unsigned, pinned ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    rm_shared_translate(&address);
    PUT(CUdeviceptr, address);
  case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    if (!pinned && r->kind != RM_RANGE_MANAGED) return CUDA_ERROR_INVALID_VALUE;
    PUT(uint64_t, address);
  case CU_POINTER_ATTRIBUTE_BUFFER_ID: PUT(unsigned long long, r->id);
  case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: PUT(unsigned long long, r->id);
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: PUT(int, r->context->device);
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: PUT(CUdeviceptr, r->base);
  case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: PUT(CUdeviceptr, r->base);
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE: PUT(size_t, r->bytes);
  case CU_POINTER_ATTRIBUTE_MAPPING_SIZE: PUT(size_t, r->bytes);
  case CU_POINTER_ATTRIBUTE_MAPPED: PUT(int, 1);
  case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: PUT(int, CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
  case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    PUT(CUmemoryPool, r->kind == RM_RANGE_DEVICE ? r->owner : NULL);
  case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
  case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: PUT(int, 0);
  case CU_POINTER_ATTRIBUTE_IS_MANAGED: PUT(int, r->kind == RM_RANGE_MANAGED);
  case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: PUT(unsigned long long, 0);
  case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return CUDA_ERROR_NOT_SUPPORTED;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
}

/* What cuPointerGetAttributes says of an address that CUDA doesn't know. */
static CUresult attribute_of_stranger(void *data, CUpointer_attribute attribute) {
  switch ((int)attribute) {
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: PUT(int, -2);
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: PUT(unsigned, 0);
  case CU_POINTER_ATTRIBUTE_MAPPED:
  case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
  case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
  case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
  case CU_POINTER_ATTRIBUTE_IS_MANAGED:
  case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: PUT(int, 0);
  case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return CUDA_ERROR_NOT_SUPPORTED;
  default: PUT(uint64_t, 0);
  }
}

CUresult rm_cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
  rm_range range;
  CUresult status = rm_ready();
  if (status) return status;
  if (!data || !rm_range_find(address, &range)) return CUDA_ERROR_INVALID_VALUE;
  return attribute_of(data, attribute, address, &range);
}

CUresult rm_cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                   CUdeviceptr address) {
  rm_range range;
  CUresult status = rm_ready();
  if (status) return status;
  if (!attributes || !data) return CUDA_ERROR_INVALID_VALUE;
  bool known = rm_range_find(address, &range);
  for (unsigned int i = 0; i < count; i++) {
    status = known ? attribute_of(data[i], attributes[i], address, &range)
                   : attribute_of_stranger(data[i], attributes[i]);
    if (status == CUDA_ERROR_INVALID_VALUE && attributes[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER)
      memset(data[i], 0, sizeof(void *));
    else if (status)
      return status;
  }
  return CUDA_SUCCESS;
}

/* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS is the only one that can be set; copies keep their order anyway.
 */
CUresult rm_cuPointerSetAttribute(const void *value, CUpointer_attribute attribute,
                                  CUdeviceptr address) {
  rm_range range;
  CUresult status = rm_ready();
  if (status) return status;
  if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || !rm_range_find(address, &range))
    return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}
