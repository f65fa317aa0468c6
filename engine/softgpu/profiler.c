/* Calls that tools make and that need no work here. */
#include "device.h"

CUresult sg_cuProfilerStart(void) { return sg_initialised(); }
CUresult sg_cuProfilerStop(void) { return sg_initialised(); }

/* Nothing is ever logged through it, so that a registration needs no record. */
CUresult sg_cuLogsRegisterCallback(CUlogsCallback callback, void *data,
                                   CUlogsCallbackHandle *handle) {
  (void)data;
  if (!callback) return CUDA_ERROR_INVALID_VALUE;
  if (handle) *handle = NULL;
  return CUDA_SUCCESS;
}

CUresult sg_cuLogsUnregisterCallback(CUlogsCallbackHandle handle) {
  (void)handle;
  return CUDA_SUCCESS;
}
