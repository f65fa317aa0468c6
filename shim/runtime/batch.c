/* batch.c: see batch.h. */
#include "batch.h"

static bool is_legacy(CUstream stream) { return !stream || stream == CU_STREAM_LEGACY; }

static bool known(CUmemcpySrcAccessOrder order, bool *sync) {
  if (order == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL) *sync = true;
  return order >= CU_MEMCPY_SRC_ACCESS_ORDER_STREAM && order <= CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
}

bool batch_valid(const CUmemcpyAttributes *attributes, const size_t *firsts, size_t kinds,
                 size_t count, CUstream stream, bool *sync) {
  *sync = false;
  if (!count || !kinds || kinds > count || !attributes || !firsts || is_legacy(stream))
    return false;
  for (size_t i = 0; i < kinds; i++)
    if ((i ? firsts[i] <= firsts[i - 1] : firsts[i] != 0) || firsts[i] >= count ||
        !known(attributes[i].srcAccessOrder, sync))
      return false;
  return true;
}

/* A size of 0 says that the box is packed. */
static bool side(const CUmemcpy3DOperand *operand, CUextent3D extent, size_t *pitch,
                 size_t *height) {
  *pitch = operand->op.ptr.rowLength ? operand->op.ptr.rowLength : extent.width;
  *height = operand->op.ptr.layerHeight ? operand->op.ptr.layerHeight : extent.height;
  return *pitch >= extent.width && *height >= extent.height;
}

CUresult batch_box(const CUDA_MEMCPY3D_BATCH_OP *op, CUDA_MEMCPY3D *box, bool *sync) {
  if (op->src.type == CU_MEMCPY_OPERAND_TYPE_ARRAY || op->dst.type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
    return CUDA_ERROR_NOT_SUPPORTED;
  *box = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_UNIFIED,
                         .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
                         .srcDevice = op->src.op.ptr.ptr,
                         .dstDevice = op->dst.op.ptr.ptr,
                         .WidthInBytes = op->extent.width,
                         .Height = op->extent.height,
                         .Depth = op->extent.depth};
  bool valid = op->src.type == CU_MEMCPY_OPERAND_TYPE_POINTER &&
               op->dst.type == CU_MEMCPY_OPERAND_TYPE_POINTER && op->extent.width &&
               op->extent.height && op->extent.depth && known(op->srcAccessOrder, sync) &&
               side(&op->src, op->extent, &box->srcPitch, &box->srcHeight) &&
               side(&op->dst, op->extent, &box->dstPitch, &box->dstHeight);
  return valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDA_MEMCPY3D batch_peer_box(const CUDA_MEMCPY3D_PEER *c) {
  return (CUDA_MEMCPY3D){.srcXInBytes = c->srcXInBytes,
                         .srcY = c->srcY,
                         .srcZ = c->srcZ,
                         .srcMemoryType = c->srcMemoryType,
                         .srcHost = c->srcHost,
                         .srcDevice = c->srcDevice,
                         .srcArray = c->srcArray,
                         .srcPitch = c->srcPitch,
                         .srcHeight = c->srcHeight,
                         .dstXInBytes = c->dstXInBytes,
                         .dstY = c->dstY,
                         .dstZ = c->dstZ,
                         .dstMemoryType = c->dstMemoryType,
                         .dstHost = c->dstHost,
                         .dstDevice = c->dstDevice,
                         .dstArray = c->dstArray,
                         .dstPitch = c->dstPitch,
                         .dstHeight = c->dstHeight,
                         .WidthInBytes = c->WidthInBytes,
                         .Height = c->Height,
                         .Depth = c->Depth};
}
