/* The cuLibrary* family: programs without a context, with a module for each context that uses them.
 */
#include "module.h"
#include "queue.h"
#include <stdlib.h>

static CUresult find(CUlibrary handle, sg_library **library) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *library = sg_object_get(handle, SG_LIBRARY);
  return *library ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* ---- modules */

CUresult sg_library_module(sg_library *l, sg_context *context, sg_module **module) {
  CUresult r = CUDA_SUCCESS;
  pthread_mutex_lock(&l->lock);
  sg_module *m = l->modules;
  while (m && m->context != context) m = m->next;
  if (!m) {
    r = sg_library_make_managed(l, NULL);
    if (r == CUDA_SUCCESS) r = sg_module_new(context, l->program, l, NULL, &m);
    if (r == CUDA_SUCCESS) {
      m->next = l->modules;
      l->modules = m;
    }
  }
  pthread_mutex_unlock(&l->lock);
  *module = m;
  return r;
}

CUresult sg_kernel_module(sg_kernel *kernel, sg_context *context, sg_module **module) {
  *module = kernel->module;
  return kernel->module ? CUDA_SUCCESS : sg_library_module(kernel->library, context, module);
}

/* ---- loading */

static CUresult load(sg_library **library, const void *code, sg_jit_log *log) {
  sg_image image;
  CUresult r = sg_image_find(code, &image);
  if (r != CUDA_SUCCESS) return r;
  sg_library *l = sg_object_new(SG_LIBRARY, sizeof *l);
  r = l ? sg_program_load(&image, log, &l->program) : CUDA_ERROR_OUT_OF_MEMORY;
  if (l) l->of_runtime = image.wrapped;
  sg_image_release(&image);
  if (r == CUDA_SUCCESS) {
    pthread_mutex_init(&l->lock, NULL);
    l->kernels = calloc(l->program->head->kernel_count + 1, sizeof *l->kernels);
    if (!l->kernels) r = CUDA_ERROR_OUT_OF_MEMORY;
  }
  if (r == CUDA_SUCCESS)
    *library = l;
  else if (l) {
    sg_program_drop(l->program);
    sg_object_free(l);
  }
  return r;
}

CUresult sg_cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *options,
                              void **values, unsigned int count, CUlibraryOption *library_options,
                              void **library_values, unsigned int library_count) {
  sg_jit_log log;
  (void)library_options, (void)library_values, (void)library_count;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!library) return CUDA_ERROR_INVALID_VALUE;
  sg_jit_log_open(&log, count, options, values);
  return load((sg_library **)library, code, &log);
}

CUresult sg_cuLibraryLoadFromFile(CUlibrary *library, const char *path, CUjit_option *options,
                                  void **values, unsigned int count,
                                  CUlibraryOption *library_options, void **library_values,
                                  unsigned int library_count) {
  char *image;
  CUresult r = sg_initialised();
  if (r == CUDA_SUCCESS) r = sg_image_read(path, &image);
  if (r != CUDA_SUCCESS) return r;
  r = sg_cuLibraryLoadData(library, image, options, values, count, library_options, library_values,
                           library_count);
  free(image);
  return r;
}

CUresult sg_cuLibraryUnload(CUlibrary handle) {
  sg_library *l;
  CUresult r = find(handle, &l);
  if (r != CUDA_SUCCESS) return r;
  sg_object_retire(l);
  for (sg_module *m = l->modules, *next; m; m = next) {
    next = m->next;
    if (m->context->active) sg_context_drain(m->context, false);
    sg_module_delete(m);
  }
  for (uint32_t i = 0; i < l->program->head->kernel_count; i++)
    if (l->kernels[i]) sg_object_free(l->kernels[i]);
  free(l->kernels);
  sg_library_free_managed(l);
  sg_program_drop(l->program);
  sg_object_free(l);
  return CUDA_SUCCESS;
}

/* ---- what is in it */

static CUresult kernel_at(sg_library *l, uint32_t index, sg_kernel **kernel) {
  pthread_mutex_lock(&l->lock);
  if (!l->kernels[index]) l->kernels[index] = sg_kernel_new(NULL, l, index);
  *kernel = l->kernels[index];
  pthread_mutex_unlock(&l->lock);
  return *kernel ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sg_cuLibraryGetKernel(CUkernel *kernel, CUlibrary handle, const char *name) {
  sg_library *l;
  CUresult r = find(handle, &l);
  if (r != CUDA_SUCCESS) return r;
  if (!kernel || !name) return CUDA_ERROR_INVALID_VALUE;
  int i = sg_program_kernel(l->program, name);
  return i < 0 ? CUDA_ERROR_NOT_FOUND : kernel_at(l, (uint32_t)i, (sg_kernel **)kernel);
}

CUresult sg_cuLibraryGetKernelCount(unsigned int *count, CUlibrary handle) {
  sg_library *l;
  CUresult r = find(handle, &l);
  if (r == CUDA_SUCCESS && !count) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *count = l->program->head->kernel_count;
  return r;
}

CUresult sg_cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int count, CUlibrary handle) {
  sg_library *l;
  CUresult r = find(handle, &l);
  if (r == CUDA_SUCCESS && !kernels) r = CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; r == CUDA_SUCCESS && i < count && i < l->program->head->kernel_count; i++)
    r = kernel_at(l, i, (sg_kernel **)&kernels[i]);
  return r;
}

static CUresult current_module(CUlibrary handle, sg_module **module) {
  sg_library *l;
  sg_context *c;
  CUresult r = find(handle, &l);
  if (r == CUDA_SUCCESS) r = sg_enter(&c);
  return r == CUDA_SUCCESS ? sg_library_module(l, c, module) : r;
}

CUresult sg_cuLibraryGetModule(CUmodule *module, CUlibrary handle) {
  if (!module) return CUDA_ERROR_INVALID_VALUE;
  return current_module(handle, (sg_module **)module);
}

CUresult sg_cuLibraryGetGlobal(CUdeviceptr *pointer, size_t *bytes, CUlibrary handle,
                               const char *name) {
  sg_module *m;
  CUresult r = current_module(handle, &m);
  return r == CUDA_SUCCESS ? sg_cuModuleGetGlobal(pointer, bytes, (CUmodule)m, name) : r;
}

CUresult sg_cuLibraryGetManaged(CUdeviceptr *pointer, size_t *bytes, CUlibrary handle,
                                const char *name) {
  sg_library *l;
  CUresult r = find(handle, &l);
  if (r != CUDA_SUCCESS) return r;
  if (!name) return CUDA_ERROR_INVALID_VALUE;
  int i = sg_program_variable(l->program, name);
  if (i < 0 || !(l->program->variables[i].flags & RM_VARIABLE_MANAGED)) return CUDA_ERROR_NOT_FOUND;
  pthread_mutex_lock(&l->lock);
  r = sg_library_make_managed(l, NULL);
  pthread_mutex_unlock(&l->lock);
  if (r == CUDA_SUCCESS && pointer) *pointer = l->managed[i];
  if (r == CUDA_SUCCESS && bytes) *bytes = l->program->variables[i].bytes;
  return r;
}
