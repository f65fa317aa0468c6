/* stream_attributes.c: attributes of streams. Those that may be set are hints; they are kept and
 * told again. The default streams keep none. */
#include <string.h>

#include "session.h"
#include "progress.h"
#include "stream.h"
#include "thread.h"
#include "../generated/local.h"

static CUresult find(CUstream handle, rm_stream **stream) {
  rm_target target;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &target);
  if (!status) *stream = rm_object_get(RM_STREAM, handle);
  return status;
}

CUresult rm_cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute,
                                 CUstreamAttrValue *value) {
  rm_stream *stream;
  CUresult status = find(handle, &stream);
  int at = stream_hint_at(attribute);
  if (status) return status;
  if (!value || (at < 0 && attribute != CU_LAUNCH_ATTRIBUTE_PRIORITY))
    return CUDA_ERROR_INVALID_VALUE;
  memset(value, 0, sizeof *value);
  if (at < 0)
    value->priority = stream ? stream->priority : 0;
  else if (stream)
    *value = stream->hints[at];
  return CUDA_SUCCESS;
}

CUresult rm_cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute,
                                 const CUstreamAttrValue *value) {
  rm_stream *stream;
  CUresult status = find(handle, &stream);
  int at = stream_hint_at(attribute);
  if (status) return status;
  if (!value || at < 0) return CUDA_ERROR_INVALID_VALUE;
  if (stream) stream->hints[at] = *value;
  return CUDA_SUCCESS;
}

CUresult rm_cuStreamCopyAttributes(CUstream to, CUstream from) {
  rm_stream *source, *target;
  CUresult status = find(from, &source);
  if (!status) status = find(to, &target);
  if (!status && source && target) memcpy(target->hints, source->hints, sizeof target->hints);
  return status;
}
