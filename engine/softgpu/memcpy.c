/* The cuMemcpy* family: each call states its copy and posts it. Arrays are not there yet. */
#include "copy.h"
#include "memory.h"

/* Device pointers of a call that names their kind must be ones that the driver gave out. */
static CUresult device(CUdeviceptr pointer, size_t bytes) {
  return !bytes || sg_memory_covers(pointer, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult line(CUstream stream, uintptr_t to, uintptr_t from, size_t bytes, sg_when when) {
  sg_copy c = {.to = to, .from = from, .width = bytes, .rows = 1, .depth = 1};
  return sg_copy_post(stream, &c, when);
}

static CUresult checked(CUstream stream, CUdeviceptr d1, CUdeviceptr d2, uintptr_t to,
                        uintptr_t from, size_t bytes, sg_when when) {
  sg_context *context;
  CUresult r = sg_enter(&context);
  if (r == CUDA_SUCCESS) r = device(d1, bytes);
  if (r == CUDA_SUCCESS) r = device(d2, bytes);
  return r == CUDA_SUCCESS ? line(stream, to, from, bytes, when) : r;
}

CUresult sg_cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return line(NULL, to, from, bytes, SG_NOW);
}

CUresult sg_cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return line(stream, to, from, bytes, SG_LATER);
}

CUresult sg_cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return checked(NULL, to, to, to, (uintptr_t)from, bytes, SG_NOW);
}

CUresult sg_cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return checked(stream, to, to, to, (uintptr_t)from, bytes, SG_LATER);
}

CUresult sg_cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  return checked(NULL, from, from, (uintptr_t)to, from, bytes, SG_NOW);
}

CUresult sg_cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return checked(stream, from, from, (uintptr_t)to, from, bytes, SG_LATER);
}

CUresult sg_cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return checked(NULL, to, from, to, from, bytes, SG_LATER);
}

CUresult sg_cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return checked(stream, to, from, to, from, bytes, SG_LATER);
}

CUresult sg_cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                              CUcontext from_context, size_t bytes, CUstream stream) {
  if (!sg_object_get(to_context, SG_CONTEXT) || !sg_object_get(from_context, SG_CONTEXT))
    return CUDA_ERROR_INVALID_CONTEXT;
  return checked(stream, to, from, to, from, bytes, SG_LATER);
}

CUresult sg_cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                         CUcontext from_context, size_t bytes) {
  return sg_cuMemcpyPeerAsync(to, to_context, from, from_context, bytes, NULL);
}

/* ---- 2D and 3D */

static CUresult side(CUmemorytype type, const void *host, CUdeviceptr device_pointer,
                     uintptr_t *address) {
  switch (type) {
  case CU_MEMORYTYPE_HOST: *address = (uintptr_t)host; return CUDA_SUCCESS;
  case CU_MEMORYTYPE_DEVICE:
  case CU_MEMORYTYPE_UNIFIED: *address = device_pointer; return CUDA_SUCCESS;
  case CU_MEMORYTYPE_ARRAY: return CUDA_ERROR_NOT_SUPPORTED;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
}

static CUresult post_3d(const CUDA_MEMCPY3D *p, CUstream stream, sg_when when) {
  if (!p) return CUDA_ERROR_INVALID_VALUE;
  sg_copy c = {.width = p->WidthInBytes, .rows = p->Height, .depth = p->Depth};
  CUresult r = side(p->dstMemoryType, p->dstHost, p->dstDevice, &c.to);
  if (r == CUDA_SUCCESS) r = side(p->srcMemoryType, p->srcHost, p->srcDevice, &c.from);
  if (r != CUDA_SUCCESS) return r;
  c.to_pitch = p->dstPitch ? p->dstPitch : p->WidthInBytes;
  c.from_pitch = p->srcPitch ? p->srcPitch : p->WidthInBytes;
  c.to_slice = c.to_pitch * (p->dstHeight ? p->dstHeight : p->Height);
  c.from_slice = c.from_pitch * (p->srcHeight ? p->srcHeight : p->Height);
  c.to += p->dstXInBytes + p->dstY * c.to_pitch + p->dstZ * c.to_slice;
  c.from += p->srcXInBytes + p->srcY * c.from_pitch + p->srcZ * c.from_slice;
  return sg_copy_post(stream, &c, when);
}

static CUresult post_2d(const CUDA_MEMCPY2D *p, CUstream stream, sg_when when) {
  if (!p) return CUDA_ERROR_INVALID_VALUE;
  CUDA_MEMCPY3D q = {.srcXInBytes = p->srcXInBytes,
                     .srcY = p->srcY,
                     .srcMemoryType = p->srcMemoryType,
                     .srcHost = p->srcHost,
                     .srcDevice = p->srcDevice,
                     .srcPitch = p->srcPitch,
                     .dstXInBytes = p->dstXInBytes,
                     .dstY = p->dstY,
                     .dstMemoryType = p->dstMemoryType,
                     .dstHost = p->dstHost,
                     .dstDevice = p->dstDevice,
                     .dstPitch = p->dstPitch,
                     .WidthInBytes = p->WidthInBytes,
                     .Height = p->Height,
                     .Depth = 1};
  return post_3d(&q, stream, when);
}

CUresult sg_cuMemcpy2D(const CUDA_MEMCPY2D *copy) { return post_2d(copy, NULL, SG_NOW); }
CUresult sg_cuMemcpy2DUnaligned(const CUDA_MEMCPY2D *copy) { return post_2d(copy, NULL, SG_NOW); }
CUresult sg_cuMemcpy2DAsync(const CUDA_MEMCPY2D *copy, CUstream stream) {
  return post_2d(copy, stream, SG_LATER);
}
CUresult sg_cuMemcpy3D(const CUDA_MEMCPY3D *copy) { return post_3d(copy, NULL, SG_NOW); }
CUresult sg_cuMemcpy3DAsync(const CUDA_MEMCPY3D *copy, CUstream stream) {
  return post_3d(copy, stream, SG_LATER);
}
