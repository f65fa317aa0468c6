/* module_calls.c: cuModule* and cuLibrary*. */
#include <stdlib.h>

#include "modules.h"
#include "session.h"
#include "thread.h"
#include "../generated/local.h"

/* ---- options of the JIT compiler: only its logs are written to; they are empty */

void rm_jit_logs_empty(unsigned int count, const CUjit_option *options, void **values) {
  char *info = NULL, *error = NULL;
  size_t info_bytes = 0, error_bytes = 0;
  for (unsigned int i = 0; options && values && i < count; i++) {
    switch ((int)options[i]) {
    case CU_JIT_INFO_LOG_BUFFER: info = values[i]; break;
    case CU_JIT_ERROR_LOG_BUFFER: error = values[i]; break;
    case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
      info_bytes = (size_t)values[i];
      values[i] = NULL;
      break;
    case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
      error_bytes = (size_t)values[i];
      values[i] = NULL;
      break;
    default: break;
    }
  }
  if (info && info_bytes) *info = 0;
  if (error && error_bytes) *error = 0;
}

/* ---- modules */

static CUresult load_module(CUmodule *out, rm_image *image) {
  rm_module *module;
  rm_context *context = rm_context_current();
  CUresult status =
      context ? rm_module_load(image, context, false, &module) : CUDA_ERROR_INVALID_CONTEXT;
  rm_image_free(image);
  if (!status) *out = (CUmodule)module;
  return status;
}

CUresult rm_cuModuleLoadDataEx(CUmodule *out, const void *bytes, unsigned int count,
                               CUjit_option *options, void **values) {
  rm_image image;
  CUresult status = rm_ready();
  if (!status && !out) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) status = rm_image_of(bytes, SIZE_MAX, &image);
  if (status) return status;
  rm_jit_logs_empty(count, options, values);
  return load_module(out, &image);
}

CUresult rm_cuModuleLoadData(CUmodule *out, const void *bytes) {
  return rm_cuModuleLoadDataEx(out, bytes, 0, NULL, NULL);
}

CUresult rm_cuModuleLoadFatBinary(CUmodule *out, const void *bytes) {
  return rm_cuModuleLoadDataEx(out, bytes, 0, NULL, NULL);
}

CUresult rm_cuModuleLoad(CUmodule *out, const char *path) {
  rm_image image;
  CUresult status = rm_ready();
  if (!status && !out) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) status = rm_image_from_file(path, &image);
  return status ? status : load_module(out, &image);
}

/* A library's module (cuLibraryGetModule) is the library itself. */
static CUresult module_for(const void *handle, const void *out, rm_module **module) {
  CUresult status = rm_ready();
  if (status) return status;
  *module = rm_object_get(RM_MODULE, handle);
  if (!*module) return CUDA_ERROR_INVALID_HANDLE;
  return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult library_for(const void *handle, const void *out, rm_module **module) {
  CUresult status = module_for(handle, out, module);
  return !status && !(*module)->library ? CUDA_ERROR_INVALID_HANDLE : status;
}

CUresult rm_cuModuleUnload(CUmodule handle) {
  rm_module *module;
  CUresult status = module_for(handle, handle, &module);
  if (!status && module->library) status = CUDA_ERROR_INVALID_HANDLE;
  return status ? status : rm_module_unload(module);
}

static CUresult get_function(const void *handle, const char *name, void **out,
                             CUresult (*find)(const void *, const void *, rm_module **)) {
  rm_module *module;
  rm_function *function;
  CUresult status = find(handle, out, &module);
  if (!status && !name) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) status = rm_function_named(module, name, &function);
  if (!status) *out = function;
  return status;
}

CUresult rm_cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name) {
  return get_function(handle, name, (void **)out, module_for);
}

CUresult rm_cuModuleGetFunctionCount(unsigned int *count, CUmodule handle) {
  rm_module *module;
  CUresult status = module_for(handle, count, &module);
  return status ? status : rm_function_list(module, NULL, 0, count);
}

CUresult rm_cuModuleEnumerateFunctions(CUfunction *functions, unsigned int capacity,
                                       CUmodule handle) {
  rm_module *module;
  uint32_t count;
  CUresult status = module_for(handle, functions, &module);
  return status ? status : rm_function_list(module, (void *)functions, capacity, &count);
}

CUresult rm_cuModuleGetGlobal(CUdeviceptr *out, size_t *bytes, CUmodule handle, const char *name) {
  rm_module *module;
  CUresult status = module_for(handle, handle, &module);
  if (!status && !name) status = CUDA_ERROR_INVALID_VALUE;
  return status ? status : rm_global_named(module, name, out, bytes);
}

/* ---- libraries: not of a context, so they can be loaded before there is one */

static CUresult load_library(CUlibrary *out, rm_image *image) {
  rm_module *module;
  CUresult status = rm_module_load(image, rm_context_current(), true, &module);
  rm_image_free(image);
  if (!status) *out = (CUlibrary)module;
  return status;
}

CUresult rm_cuLibraryLoadData(CUlibrary *out, const void *code, CUjit_option *options,
                              void **values, unsigned int count, CUlibraryOption *library_options,
                              void **library_values, unsigned int library_count) {
  rm_image image;
  (void)library_options, (void)library_values, (void)library_count; /* about keeping the bytes */
  CUresult status = rm_ready();
  if (!status && !out) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) status = rm_image_of(code, SIZE_MAX, &image);
  if (status) return status;
  rm_jit_logs_empty(count, options, values);
  return load_library(out, &image);
}

CUresult rm_cuLibraryLoadFromFile(CUlibrary *out, const char *path, CUjit_option *options,
                                  void **values, unsigned int count,
                                  CUlibraryOption *library_options, void **library_values,
                                  unsigned int library_count) {
  rm_image image;
  (void)library_options, (void)library_values, (void)library_count;
  CUresult status = rm_ready();
  if (!status && !out) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) status = rm_image_from_file(path, &image);
  if (status) return status;
  rm_jit_logs_empty(count, options, values);
  return load_library(out, &image);
}

CUresult rm_cuLibraryUnload(CUlibrary handle) {
  rm_module *module;
  CUresult status = library_for(handle, handle, &module);
  return status ? status : rm_module_unload(module);
}

CUresult rm_cuLibraryGetKernel(CUkernel *out, CUlibrary handle, const char *name) {
  return get_function(handle, name, (void **)out, library_for);
}

CUresult rm_cuLibraryGetKernelCount(unsigned int *count, CUlibrary handle) {
  rm_module *module;
  CUresult status = library_for(handle, count, &module);
  return status ? status : rm_function_list(module, NULL, 0, count);
}

CUresult rm_cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int capacity, CUlibrary handle) {
  rm_module *module;
  uint32_t count;
  CUresult status = library_for(handle, kernels, &module);
  return status ? status : rm_function_list(module, (void *)kernels, capacity, &count);
}

CUresult rm_cuLibraryGetModule(CUmodule *out, CUlibrary handle) {
  rm_module *module;
  CUresult status = library_for(handle, out, &module);
  if (!status && !rm_context_current()) status = CUDA_ERROR_INVALID_CONTEXT;
  if (!status) *out = (CUmodule)module;
  return status;
}

CUresult rm_cuLibraryGetGlobal(CUdeviceptr *out, size_t *bytes, CUlibrary handle,
                               const char *name) {
  rm_module *module;
  CUresult status = library_for(handle, handle, &module);
  if (!status && !name) status = CUDA_ERROR_INVALID_VALUE;
  return status ? status : rm_global_named(module, name, out, bytes);
}

CUresult rm_cuLibraryGetManaged(CUdeviceptr *out, size_t *bytes, CUlibrary handle,
                                const char *name) {
  rm_module *module;
  CUresult status = library_for(handle, name, &module);
  return status ? status : rm_managed_named(module, name, out, bytes);
}
