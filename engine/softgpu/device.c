/* Devices of the software GPU: cuInit, count, names, memory accounting. */
#include "device.h"
#include "context.h"
#include "memory.h"
#include "pool.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static sg_device devices[SG_MAX_DEVICES];
static int device_count;
static _Atomic bool initialised, forked;

/* A fork waits while another thread initialises; the child has no device of its parent's. */
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static void before_fork(void) { pthread_mutex_lock(&init_lock); }
static void in_parent(void) { pthread_mutex_unlock(&init_lock); }
static void in_child(void) {
  pthread_mutex_init(&init_lock, NULL);
  forked = initialised;
}
static void watch_forks(void) { pthread_atfork(before_fork, in_parent, in_child); }

static CUresult init_device(int ordinal) {
  sg_device *d = &devices[ordinal];
  d->ordinal = ordinal;
  d->memory_bytes = sg_config()->memory_bytes;
  CUresult r = sg_memory_init_device(d);
  if (r == CUDA_SUCCESS) r = sg_pool_init_device(d);
  if (r == CUDA_SUCCESS) d->primary = sg_context_make_primary(d);
  return r == CUDA_SUCCESS && !d->primary ? CUDA_ERROR_OUT_OF_MEMORY : r;
}

static CUresult init_all(void) {
  for (int i = 0; i < sg_config()->devices; i++) {
    CUresult r = init_device(i);
    if (r != CUDA_SUCCESS) return r;
  }
  device_count = sg_config()->devices;
  initialised = true;
  return CUDA_SUCCESS;
}

CUresult sg_cuInit(unsigned int flags) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  if (forked) return CUDA_ERROR_NOT_INITIALIZED;
  if (initialised) return CUDA_SUCCESS;
  pthread_once(&once, watch_forks);
  pthread_mutex_lock(&init_lock);
  CUresult r = initialised ? CUDA_SUCCESS : init_all();
  pthread_mutex_unlock(&init_lock);
  return r;
}

CUresult sg_initialised(void) {
  return initialised && !forked ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

int sg_device_count(void) { return device_count; }

sg_device *sg_device_at(int ordinal) {
  return ordinal >= 0 && ordinal < device_count ? &devices[ordinal] : NULL;
}

bool sg_device_charge(sg_device *device, size_t bytes) {
  size_t used = device->memory_used;
  do {
    if (bytes > device->memory_bytes - used) return false;
  } while (!__atomic_compare_exchange_n(&device->memory_used, &used, used + bytes, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return true;
}

void sg_device_refund(sg_device *device, size_t bytes) { device->memory_used -= bytes; }

void sg_device_uuid(int ordinal, uint8_t uuid[16]) {
  /* A name-based identity: the same device of the same machine keeps it from run to run. */
  char host[65] = "";
  gethostname(host, sizeof host - 1);
  uint64_t a = 0xcbf29ce484222325u, b = 0x84222325cbf29ce4u + (uint64_t)ordinal;
  for (const char *p = host; *p; p++) {
    a = (a ^ (uint8_t)*p) * 0x100000001b3u;
    b = (b ^ (uint8_t)*p) * 0x100000001b3u;
  }
  a ^= (uint64_t)ordinal << 56;
  memcpy(uuid, &a, 8);
  memcpy(uuid + 8, &b, 8);
  uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80);
  uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static CUresult find(int ordinal, sg_device **device) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *device = sg_device_at(ordinal);
  return *device ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sg_cuDriverGetVersion(int *version) {
  if (!version) return CUDA_ERROR_INVALID_VALUE;
  *version = sg_config()->driver_version;
  return CUDA_SUCCESS;
}

CUresult sg_cuDeviceGetCount(int *count) {
  CUresult r = sg_initialised();
  if (r == CUDA_SUCCESS && !count) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *count = device_count;
  return r;
}

CUresult sg_cuDeviceGet(CUdevice *device, int ordinal) {
  sg_device *d;
  CUresult r = find(ordinal, &d);
  if (r == CUDA_SUCCESS && !device) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *device = ordinal;
  return r;
}

CUresult sg_cuDeviceGetName(char *name, int length, CUdevice ordinal) {
  sg_device *d;
  CUresult r = find(ordinal, &d);
  if (r == CUDA_SUCCESS && (!name || length < 1)) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS)
    snprintf(name, (size_t)length, "Remora Software GPU (CPU, not a real GPU)");
  return r;
}

CUresult sg_cuDeviceTotalMem(size_t *bytes, CUdevice ordinal) {
  sg_device *d;
  CUresult r = find(ordinal, &d);
  if (r == CUDA_SUCCESS && !bytes) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *bytes = d->memory_bytes;
  return r;
}

CUresult sg_cuDeviceGetUuid(CUuuid *uuid, CUdevice ordinal) {
  sg_device *d;
  CUresult r = find(ordinal, &d);
  if (r == CUDA_SUCCESS && !uuid) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) sg_device_uuid(ordinal, (uint8_t *)uuid->bytes);
  return r;
}

CUresult sg_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice ordinal) {
  sg_device *d;
  CUresult r = find(ordinal, &d);
  if (r == CUDA_SUCCESS && !value) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS && ((int)attribute < 1 || (int)attribute > 1000))
    r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *value = sg_device_attribute(ordinal, attribute);
  return r;
}

CUresult sg_cuDeviceGetPCIBusId(char *text, int length, CUdevice ordinal) {
  sg_device *d;
  CUresult r = find(ordinal, &d);
  if (r == CUDA_SUCCESS && (!text || length < 13)) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS)
    snprintf(text, (size_t)length, "%04X:%02X:%02X.0", 0,
             sg_device_attribute(ordinal, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID), 0);
  return r;
}

CUresult sg_cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  unsigned domain = 0, bus = 0, slot = 0;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!device || !text) return CUDA_ERROR_INVALID_VALUE;
  if (sscanf(text, "%x:%x:%x", &domain, &bus, &slot) < 3 && sscanf(text, "%x:%x", &bus, &slot) < 2)
    return CUDA_ERROR_INVALID_VALUE;
  for (int i = 0; i < device_count; i++)
    if (sg_device_attribute(i, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) == (int)bus) {
      *device = i;
      return CUDA_SUCCESS;
    }
  return CUDA_ERROR_INVALID_DEVICE;
}

CUresult sg_cuDeviceComputeCapability(int *major, int *minor, CUdevice ordinal) {
  CUresult r =
      sg_cuDeviceGetAttribute(major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, ordinal);
  if (r != CUDA_SUCCESS) return r;
  return sg_cuDeviceGetAttribute(minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, ordinal);
}

CUresult sg_cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  sg_device *d;
  CUresult r = find(device, &d);
  if (r == CUDA_SUCCESS) r = find(peer, &d);
  if (r == CUDA_SUCCESS && !can) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *can = device != peer;
  return r;
}

CUresult sg_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice device,
                                    CUdevice peer) {
  int can;
  CUresult r = sg_cuDeviceCanAccessPeer(&can, device, peer);
  if (r == CUDA_SUCCESS && !value) r = CUDA_ERROR_INVALID_VALUE;
  if (r != CUDA_SUCCESS) return r;
  bool yes = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED ||
             attribute == CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED;
  *value = yes ? can : 0;
  return CUDA_SUCCESS;
}

CUresult sg_cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  CUresult r = sg_initialised();
  if (r == CUDA_SUCCESS && !mode) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *mode = CU_MODULE_LAZY_LOADING;
  return r;
}
