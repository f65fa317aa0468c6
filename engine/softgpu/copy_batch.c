/* Batches of copies, and boxes between devices, each as the copies it is made of. */
#include "../../shim/runtime/batch.h"
#include "context.h"
#include "objects.h"

static bool is_context(CUcontext handle) { return sg_object_get(handle, SG_CONTEXT) != NULL; }

CUresult sg_cuMemcpyBatchAsync(CUdeviceptr *to, CUdeviceptr *from, size_t *bytes, size_t count,
                               CUmemcpyAttributes *attributes, size_t *firsts, size_t kinds,
                               CUstream stream) {
  bool sync;
  if (!to || !from || !bytes || !batch_valid(attributes, firsts, kinds, count, stream, &sync))
    return CUDA_ERROR_INVALID_VALUE;
  CUresult status = CUDA_SUCCESS;
  for (size_t i = 0; i < count && !status; i++)
    status = sg_cuMemcpyAsync(to[i], from[i], bytes[i], stream);
  return !status && sync ? sg_cuStreamSynchronize(stream) : status;
}

CUresult sg_cuMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP *ops,
                                 unsigned long long flags, CUstream stream) {
  CUDA_MEMCPY3D box;
  bool sync = false;
  if (!count || !ops || flags || !stream || stream == CU_STREAM_LEGACY)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult status = CUDA_SUCCESS;
  for (size_t i = 0; i < count && !status; i++) {
    status = batch_box(&ops[i], &box, &sync);
    if (!status) status = sg_cuMemcpy3DAsync(&box, stream);
  }
  return !status && sync ? sg_cuStreamSynchronize(stream) : status;
}

static bool has_contexts(const CUDA_MEMCPY3D_PEER *c) {
  bool to = c->dstMemoryType == CU_MEMORYTYPE_HOST || is_context(c->dstContext);
  return to && (c->srcMemoryType == CU_MEMORYTYPE_HOST || is_context(c->srcContext));
}

CUresult sg_cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *copy, CUstream stream) {
  if (!copy) return CUDA_ERROR_INVALID_VALUE;
  if (!has_contexts(copy)) return CUDA_ERROR_INVALID_CONTEXT;
  CUDA_MEMCPY3D box = batch_peer_box(copy);
  return sg_cuMemcpy3DAsync(&box, stream);
}

CUresult sg_cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *copy) {
  if (!copy) return CUDA_ERROR_INVALID_VALUE;
  if (!has_contexts(copy)) return CUDA_ERROR_INVALID_CONTEXT;
  CUDA_MEMCPY3D box = batch_peer_box(copy);
  return sg_cuMemcpy3D(&box);
}
