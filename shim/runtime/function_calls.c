/* function_calls.c: cuFunc* and cuKernel*. A CUkernel is usable as a CUfunction: they are the same.
 */
#include "context.h"
#include "modules.h"
#include "session.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

static CUresult function_for(const void *handle, const void *out, rm_function **function) {
  CUresult status = rm_ready();
  if (status) return status;
  *function = rm_object_get(RM_FUNCTION, handle);
  if (!*function) return CUDA_ERROR_INVALID_HANDLE;
  return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuKernelGetFunction(CUfunction *out, CUkernel handle) {
  rm_function *function;
  CUresult status = function_for(handle, out, &function);
  if (!status && !rm_context_current()) status = CUDA_ERROR_INVALID_CONTEXT;
  if (!status) *out = (CUfunction)function;
  return status;
}

CUresult rm_cuKernelGetLibrary(CUlibrary *out, CUkernel handle) {
  rm_function *function;
  CUresult status = function_for(handle, out, &function);
  if (!status) *out = (CUlibrary)function->module;
  return status;
}

CUresult rm_cuFuncGetModule(CUmodule *out, CUfunction handle) {
  rm_function *function;
  CUresult status = function_for(handle, out, &function);
  if (!status) *out = (CUmodule)function->module;
  return status;
}

static CUresult get_name(const char **out, const void *handle) {
  rm_function *function;
  CUresult status = function_for(handle, out, &function);
  if (!status) *out = function->name;
  return status;
}

CUresult rm_cuKernelGetName(const char **out, CUkernel handle) { return get_name(out, handle); }
CUresult rm_cuFuncGetName(const char **out, CUfunction handle) { return get_name(out, handle); }

static CUresult param_info(const void *handle, size_t index, size_t *offset, size_t *size) {
  rm_function *function;
  CUresult status = function_for(handle, offset, &function);
  if (status) return status;
  if (index >= function->param_count) return CUDA_ERROR_INVALID_VALUE;
  *offset = function->params[index].offset;
  if (size) *size = function->params[index].size;
  return CUDA_SUCCESS;
}

CUresult rm_cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset, size_t *size) {
  return param_info(handle, index, offset, size);
}

CUresult rm_cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset, size_t *size) {
  return param_info(handle, index, offset, size);
}

/* ---- attributes: told with the function, kept here */

static CUresult get_attribute(int *value, CUfunction_attribute attribute, const void *handle) {
  rm_function *function;
  CUresult status = function_for(handle, value, &function);
  if (status) return status;
  if ((unsigned)attribute >= sizeof function->attributes / sizeof *function->attributes)
    return CUDA_ERROR_INVALID_VALUE;
  *value = function->attributes[attribute];
  return CUDA_SUCCESS;
}

static CUresult set_attribute(const void *handle, CUfunction_attribute attribute, int value,
                              rm_context *context) {
  rm_function *function;
  rm_call call;
  CUresult status = function_for(handle, handle, &function);
  if (status) return status;
  if ((unsigned)attribute >= sizeof function->attributes / sizeof *function->attributes)
    return CUDA_ERROR_INVALID_VALUE;
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  status = rm_call_begin_on(&call, context, RM_CALL_function_set, sizeof(rm_q_function_set));
  if (status) return status;
  *(rm_q_function_set *)call.body =
      (rm_q_function_set){.function = function->object.id, .attribute = attribute, .value = value};
  status = rm_call_wait(&call, NULL, 0);
  if (!status) function->attributes[attribute] = value;
  return status;
}

CUresult rm_cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
  return get_attribute(value, attribute, handle);
}

CUresult rm_cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  return set_attribute(handle, attribute, value, rm_context_current());
}

CUresult rm_cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel handle,
                                 CUdevice device) {
  CUresult status = get_attribute(value, attribute, handle);
  return status || rm_device_at(device) ? status : CUDA_ERROR_INVALID_DEVICE;
}

/* Of one device: set in its primary context if the current one is another device's. */
CUresult rm_cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle,
                                 CUdevice device) {
  CUresult status = rm_ready();
  if (status) return status;
  if (!rm_device_at(device)) return CUDA_ERROR_INVALID_DEVICE;
  rm_context *context = rm_context_current();
  if (!context || context->device != (uint32_t)device) context = rm_context_primary(device);
  return set_attribute(handle, attribute, value, context);
}

CUresult rm_cuKernelSetCacheConfig(CUkernel handle, CUfunc_cache config, CUdevice device) {
  CUresult status = rm_ready();
  if (status) return status;
  return rm_device_at(device) ? rm_cuFuncSetCacheConfig((CUfunction)handle, config)
                              : CUDA_ERROR_INVALID_DEVICE;
}
