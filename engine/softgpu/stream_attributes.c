/* Attributes of streams. Those that may be set are hints, without effect here; they are kept. */
#include "stream.h"
#include <string.h>

static CUresult find(CUstream handle, sg_queue **queue) {
  sg_context *c;
  return sg_enter_stream(handle, &c, queue);
}

CUresult sg_cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute,
                                 CUstreamAttrValue *value) {
  sg_queue *q;
  CUresult r = find(handle, &q);
  int at = stream_hint_at(attribute);
  if (r != CUDA_SUCCESS) return r;
  if (!value || (at < 0 && attribute != CU_LAUNCH_ATTRIBUTE_PRIORITY))
    return CUDA_ERROR_INVALID_VALUE;
  memset(value, 0, sizeof *value);
  if (at < 0)
    value->priority = q->priority;
  else
    *value = q->hints[at];
  return CUDA_SUCCESS;
}

CUresult sg_cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute,
                                 const CUstreamAttrValue *value) {
  sg_queue *q;
  CUresult r = find(handle, &q);
  int at = stream_hint_at(attribute);
  if (r != CUDA_SUCCESS) return r;
  if (!value || at < 0) return CUDA_ERROR_INVALID_VALUE;
  q->hints[at] = *value;
  return CUDA_SUCCESS;
}

CUresult sg_cuStreamCopyAttributes(CUstream to, CUstream from) {
  sg_queue *source, *target;
  CUresult r = find(from, &source);
  if (r == CUDA_SUCCESS) r = find(to, &target);
  if (r == CUDA_SUCCESS) memcpy(target->hints, source->hints, sizeof target->hints);
  return r;
}
