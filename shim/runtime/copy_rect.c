/* copy_rect.c: the two- and three-dimensional copies. Arrays are not served yet. */
#include "copy.h"
#include "session.h"
#include "ranges.h"
#include "../generated/local.h"

typedef struct block {
  rm_side side; /* of its first row */
  size_t slice; /* bytes from one slice to the next */
} block;

/* Where one side starts: type is a CUmemorytype. */
static CUresult locate(CUmemorytype type, const void *host, CUdeviceptr device, size_t pitch,
                       size_t x, size_t y, rm_side *side) {
  rm_range range;
  if (type == CU_MEMORYTYPE_ARRAY) return CUDA_ERROR_NOT_SUPPORTED;
  uint64_t base = type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)host : device;
  if (!base || type < CU_MEMORYTYPE_HOST || type > CU_MEMORYTYPE_UNIFIED)
    return CUDA_ERROR_INVALID_VALUE;
  bool known = rm_range_find(base, &range);
  bool is_device = rm_is_device_address(base);
  if (type == CU_MEMORYTYPE_DEVICE) is_device = is_device || !(known && rm_range_pinned(&range));
  if (type == CU_MEMORYTYPE_UNIFIED)
    is_device = is_device || (known && range.kind == RM_RANGE_GLOBAL);
  *side = (rm_side){.base = base + y * pitch + x, .pitch = pitch, .device = is_device};
  return CUDA_SUCCESS;
}

static bool pitch_fits(size_t *pitch, size_t x, size_t width, size_t rows) {
  if (!*pitch) *pitch = x + width;
  return rows <= 1 || *pitch >= x + width;
}

static CUresult copy_2d(const CUDA_MEMCPY2D *c, CUstream handle, bool sync) {
  rm_target stream;
  rm_side to, from;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &stream);
  if (status) return status;
  if (!c) return CUDA_ERROR_INVALID_VALUE;
  size_t to_pitch = c->dstPitch, from_pitch = c->srcPitch;
  if (!pitch_fits(&to_pitch, c->dstXInBytes, c->WidthInBytes, c->Height) ||
      !pitch_fits(&from_pitch, c->srcXInBytes, c->WidthInBytes, c->Height))
    return CUDA_ERROR_INVALID_VALUE;
  status =
      locate(c->dstMemoryType, c->dstHost, c->dstDevice, to_pitch, c->dstXInBytes, c->dstY, &to);
  if (!status)
    status = locate(c->srcMemoryType, c->srcHost, c->srcDevice, from_pitch, c->srcXInBytes, c->srcY,
                    &from);
  return status ? status : rm_copy(&stream, to, from, c->WidthInBytes, c->Height, sync);
}

CUresult rm_cuMemcpy2D(const CUDA_MEMCPY2D *c) { return copy_2d(c, NULL, true); }
CUresult rm_cuMemcpy2DUnaligned(const CUDA_MEMCPY2D *c) { return copy_2d(c, NULL, true); }
CUresult rm_cuMemcpy2DAsync(const CUDA_MEMCPY2D *c, CUstream s) { return copy_2d(c, s, false); }

static CUresult locate_slices(const CUDA_MEMCPY3D *c, block *to, block *from) {
  size_t to_pitch = c->dstPitch, from_pitch = c->srcPitch;
  if (!pitch_fits(&to_pitch, c->dstXInBytes, c->WidthInBytes, c->Height) ||
      !pitch_fits(&from_pitch, c->srcXInBytes, c->WidthInBytes, c->Height))
    return CUDA_ERROR_INVALID_VALUE;
  to->slice = to_pitch * (c->dstHeight ? c->dstHeight : c->dstY + c->Height);
  from->slice = from_pitch * (c->srcHeight ? c->srcHeight : c->srcY + c->Height);
  CUresult status = locate(c->dstMemoryType, c->dstHost, c->dstDevice, to_pitch, c->dstXInBytes,
                           c->dstY, &to->side);
  if (!status)
    status = locate(c->srcMemoryType, c->srcHost, c->srcDevice, from_pitch, c->srcXInBytes, c->srcY,
                    &from->side);
  to->side.base += c->dstZ * to->slice;
  from->side.base += c->srcZ * from->slice;
  return status;
}

static CUresult copy_slices(const CUDA_MEMCPY3D *c, const rm_target *stream, block to, block from,
                            bool sync) {
  CUresult status = CUDA_SUCCESS;
  size_t rows = c->Height, slices = c->Depth;
  if (to.slice == to.side.pitch * rows && from.slice == from.side.pitch * rows)
    rows *= slices, slices = 1; /* evenly spaced throughout */
  for (size_t z = 0; z < slices && !status; z++) {
    status = rm_copy(stream, to.side, from.side, c->WidthInBytes, rows, sync);
    to.side.base += to.slice;
    from.side.base += from.slice;
  }
  return status;
}

static CUresult copy_3d(const CUDA_MEMCPY3D *c, CUstream handle, bool sync) {
  rm_target stream;
  block to, from;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &stream);
  if (!status) status = c ? locate_slices(c, &to, &from) : CUDA_ERROR_INVALID_VALUE;
  return status ? status : copy_slices(c, &stream, to, from, sync);
}

CUresult rm_cuMemcpy3D(const CUDA_MEMCPY3D *c) { return copy_3d(c, NULL, true); }
CUresult rm_cuMemcpy3DAsync(const CUDA_MEMCPY3D *c, CUstream s) { return copy_3d(c, s, false); }
