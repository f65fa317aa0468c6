/* init.c: starting the library, and the calls that are about the library itself. */
#include <pthread.h>
#include <stdlib.h>

#include "session.h"
#include "../generated/local.h"

#define VERSION 13000 /* the driver interface that this library exports */

CUresult rm_cuInit(unsigned int flags) {
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = rm_attach();
  if (status) return status;
  if (!rm_session.device_count) return CUDA_ERROR_NO_DEVICE;
  rm_set_initialised();
  return CUDA_SUCCESS;
}

/* What the user wants programs to be told, in CUDA's own form (13040); 0: nothing. Some hand over
 * PTX only to a driver that is at least as new as they are. */
static int version_wanted(void) {
  const char *text = getenv("REMORA_DRIVER_VERSION");
  long wanted = text ? strtol(text, NULL, 10) : 0;
  return wanted >= 11000 && wanted < 100000 ? (int)wanted : 0;
}

/* Before cuInit too. With no server it is this library's own version: a program may ask for the
 * version first and for devices later. */
CUresult rm_cuDriverGetVersion(int *version) {
  if (!version) return CUDA_ERROR_INVALID_VALUE;
  *version = version_wanted();
  if (*version) return CUDA_SUCCESS;
  *version = VERSION;
  if (rm_attach() == CUDA_SUCCESS && rm_session.driver_version < VERSION)
    *version = rm_session.driver_version;
  return CUDA_SUCCESS;
}

CUresult rm_cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!mode) return CUDA_ERROR_INVALID_VALUE;
  *mode = CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

/* ---- the driver's log: this driver keeps none, so a registered callback is never called */

CUresult rm_cuLogsRegisterCallback(CUlogsCallback function, void *user, CUlogsCallbackHandle *out) {
  static char handle;
  (void)user;
  if (!function) return CUDA_ERROR_INVALID_VALUE;
  if (out) *out = (CUlogsCallbackHandle)(void *)&handle;
  return CUDA_SUCCESS;
}

CUresult rm_cuLogsUnregisterCallback(CUlogsCallbackHandle handle) {
  (void)handle;
  return CUDA_SUCCESS;
}

CUresult rm_cuLogsCurrent(CUlogIterator *iterator, unsigned int flags) {
  if (!iterator || flags) return CUDA_ERROR_INVALID_VALUE;
  *iterator = 0;
  return CUDA_SUCCESS;
}

CUresult rm_cuLogsDumpToFile(CUlogIterator *iterator, const char *path, unsigned int flags) {
  (void)iterator;
  return path && !flags ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuLogsDumpToMemory(CUlogIterator *iterator, char *buffer, size_t *size,
                               unsigned int flags) {
  (void)iterator;
  if (!buffer || !size || flags) return CUDA_ERROR_INVALID_VALUE;
  if (*size) *buffer = 0;
  *size = 0;
  return CUDA_SUCCESS;
}

/* ---- the profiler's range markers: nothing to start here */

CUresult rm_cuProfilerStart(void) { return rm_ready(); }
CUresult rm_cuProfilerStop(void) { return rm_ready(); }
