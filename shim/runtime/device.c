/* device.c: what a program can ask of a device, answered from the grant. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "../generated/local.h"
#include "../generated/records.h"

/* The device, or the reason why there is none. */
static CUresult device_for(CUdevice ordinal, rm_device **device) {
  CUresult status = rm_ready();
  if (status) return status;
  *device = rm_device_at(ordinal);
  return *device ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult rm_cuDeviceGet(CUdevice *device, int ordinal) {
  rm_device *found;
  CUresult status = device_for(ordinal, &found);
  if (status) return status;
  if (!device) return CUDA_ERROR_INVALID_VALUE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult rm_cuDeviceGetCount(int *count) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!count) return CUDA_ERROR_INVALID_VALUE;
  *count = (int)rm_session.device_count;
  return CUDA_SUCCESS;
}

CUresult rm_cuDeviceGetName(char *name, int length, CUdevice ordinal) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (status) return status;
  if (!name || length <= 0) return CUDA_ERROR_INVALID_VALUE;
  snprintf(name, (size_t)length, "%s", device->name);
  return CUDA_SUCCESS;
}

CUresult rm_cuDeviceGetUuid(CUuuid *uuid, CUdevice ordinal) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (status) return status;
  if (!uuid) return CUDA_ERROR_INVALID_VALUE;
  memcpy(uuid->bytes, device->uuid, sizeof device->uuid);
  return CUDA_SUCCESS;
}

CUresult rm_cuDeviceTotalMem(size_t *bytes, CUdevice ordinal) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (status) return status;
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  *bytes = device->total_mem;
  return CUDA_SUCCESS;
}

/* ---- attributes. Those of families that this library doesn't serve say no. */

static bool is_absent(CUdevice_attribute attribute) {
  switch ((int)attribute) {
  case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
  case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
  case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
  case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
  case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1:
  case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1:
  case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1:
  case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
  case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
  case CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES:
  case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_HANDLE_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_KMT_HANDLE_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES:
  case CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK:
  case CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH:
  case CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED: return true;
  default: return false;
  }
}

static bool is_always(CUdevice_attribute attribute) {
  switch ((int)attribute) {
  case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
  case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
  case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return true;
  default: return false;
  }
}

CUresult rm_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice ordinal) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (status) return status;
  if (!value || attribute < 1 || attribute >= CU_DEVICE_ATTRIBUTE_MAX)
    return CUDA_ERROR_INVALID_VALUE;
  bool told = (uint32_t)attribute < device->attribute_count; /* else a driver older than this */
  *value = is_absent(attribute)   ? 0
           : is_always(attribute) ? 1
           : told                 ? device->attributes[attribute]
                                  : 0;
  return CUDA_SUCCESS;
}

CUresult rm_cuDeviceComputeCapability(int *major, int *minor, CUdevice ordinal) {
  CUresult status =
      rm_cuDeviceGetAttribute(major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, ordinal);
  return status ? status
                : rm_cuDeviceGetAttribute(minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                          ordinal);
}

CUresult rm_cuDeviceGetProperties(CUdevprop *prop, CUdevice ordinal) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (status) return status;
  if (!prop) return CUDA_ERROR_INVALID_VALUE;
  const int32_t *a = device->attributes;
  *prop = (CUdevprop){
      .maxThreadsPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
      .maxThreadsDim = {a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X],
                        a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y],
                        a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z]},
      .maxGridSize = {a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X], a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y],
                      a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z]},
      .sharedMemPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK],
      .totalConstantMemory = a[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY],
      .SIMDWidth = a[CU_DEVICE_ATTRIBUTE_WARP_SIZE],
      .memPitch = a[CU_DEVICE_ATTRIBUTE_MAX_PITCH],
      .regsPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
      .clockRate = a[CU_DEVICE_ATTRIBUTE_CLOCK_RATE],
      .textureAlign = a[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT],
  };
  return CUDA_SUCCESS;
}

/* ---- PCI identity: domain:bus:device.function, hexadecimal */

CUresult rm_cuDeviceGetPCIBusId(char *text, int length, CUdevice ordinal) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (status) return status;
  if (!text || length < 13) return CUDA_ERROR_INVALID_VALUE;
  const int32_t *a = device->attributes;
  snprintf(text, (size_t)length, "%04X:%02X:%02X.0", (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
           (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
           (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]);
  return CUDA_SUCCESS;
}

/* "domain:bus:device.function", "domain:bus:device" or "bus:device.function". */
static bool parse_pci(const char *text, unsigned pci[3]) {
  char tail;
  unsigned function;
  pci[0] = 0;
  if (sscanf(text, "%x:%x:%x.%x%c", &pci[0], &pci[1], &pci[2], &function, &tail) == 4 ||
      sscanf(text, "%x:%x:%x%c", &pci[0], &pci[1], &pci[2], &tail) == 3)
    return true;
  pci[0] = 0;
  return sscanf(text, "%x:%x.%x%c", &pci[1], &pci[2], &function, &tail) == 3;
}

CUresult rm_cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  unsigned pci[3];
  CUresult status = rm_ready();
  if (status) return status;
  if (!device || !text || !parse_pci(text, pci)) return CUDA_ERROR_INVALID_VALUE;
  for (uint32_t i = 0; i < rm_session.device_count; i++) {
    const int32_t *a = rm_session.devices[i].attributes;
    if (pci[0] == (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] &&
        pci[1] == (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] &&
        pci[2] == (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]) {
      *device = (CUdevice)i;
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

/* ---- peers: copies between devices work, direct access doesn't */

/* Devices of this session; which are peers only the driver of the machine they are in knows. */
static CUresult ask_peer(int *value, int attribute, CUdevice from, CUdevice to) {
  rm_call call;
  rm_a_peer_attribute answer;
  CUresult status =
      rm_call_begin_on(&call, NULL, RM_CALL_peer_attribute, sizeof(rm_q_peer_attribute));
  if (status) return status;
  *(rm_q_peer_attribute *)call.body =
      (rm_q_peer_attribute){.device = (uint32_t)from, .peer = (uint32_t)to, .attribute = attribute};
  status = rm_call_wait(&call, &answer, sizeof answer);
  if (!status) *value = answer.value;
  return status;
}

CUresult rm_cuDeviceCanAccessPeer(int *can, CUdevice ordinal, CUdevice peer) {
  rm_device *device;
  CUresult status = device_for(ordinal, &device);
  if (!status) status = device_for(peer, &device);
  if (status) return status;
  return can ? ask_peer(can, 0, ordinal, peer) : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from,
                                    CUdevice to) {
  rm_device *device;
  CUresult status = device_for(from, &device);
  if (!status) status = device_for(to, &device);
  if (status) return status;
  if (from == to) return CUDA_ERROR_INVALID_DEVICE;
  if (!value || (int)attribute < 1) return CUDA_ERROR_INVALID_VALUE;
  return ask_peer(value, (int)attribute, from, to);
}
