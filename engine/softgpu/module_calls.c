/* The cuModule* family. */
#include "module.h"
#include "queue.h"
#include <stdio.h>
#include <stdlib.h>

static CUresult find(CUmodule handle, sg_module **module) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  *module = sg_object_get(handle, SG_MODULE);
  return *module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult load(CUmodule *handle, const void *image, sg_jit_log *log) {
  sg_context *c;
  sg_image found;
  sg_program *program;
  CUresult r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !handle) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) r = sg_image_find(image, &found);
  if (r != CUDA_SUCCESS) return r;
  r = sg_program_load(&found, log, &program);
  sg_image_release(&found);
  if (r != CUDA_SUCCESS) return r;
  r = sg_module_new(c, program, NULL, log, (sg_module **)handle);
  sg_program_drop(program);
  return r;
}

CUresult sg_cuModuleLoadData(CUmodule *module, const void *image) {
  return load(module, image, NULL);
}

CUresult sg_cuModuleLoadFatBinary(CUmodule *module, const void *image) {
  return load(module, image, NULL);
}

CUresult sg_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count,
                               CUjit_option *options, void **values) {
  sg_jit_log log;
  sg_jit_log_open(&log, count, options, values);
  return load(module, image, &log);
}

CUresult sg_image_read(const char *path, char **image) {
  FILE *f = path ? fopen(path, "rbe") : NULL;
  if (!f) return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
  fseek(f, 0, SEEK_END);
  long bytes = ftell(f);
  rewind(f);
  *image = bytes > 0 ? calloc(1, (size_t)bytes + 1) : NULL;
  bool whole = *image && fread(*image, 1, (size_t)bytes, f) == (size_t)bytes;
  fclose(f);
  if (!whole) free(*image);
  return whole ? CUDA_SUCCESS : CUDA_ERROR_FILE_NOT_FOUND;
}

CUresult sg_cuModuleLoad(CUmodule *module, const char *path) {
  char *image;
  CUresult r = sg_image_read(path, &image);
  if (r != CUDA_SUCCESS) return r;
  r = load(module, image, NULL);
  free(image);
  return r;
}

CUresult sg_cuModuleUnload(CUmodule handle) {
  sg_module *m;
  CUresult r = find(handle, &m);
  if (r != CUDA_SUCCESS) return r;
  if (m->library) return CUDA_ERROR_NOT_PERMITTED;
  if (m->context->active) sg_context_drain(m->context, false);
  sg_module_delete(m);
  return CUDA_SUCCESS;
}

CUresult sg_cuModuleGetFunction(CUfunction *function, CUmodule handle, const char *name) {
  sg_module *m;
  CUresult r = find(handle, &m);
  if (r != CUDA_SUCCESS) return r;
  if (!function || !name) return CUDA_ERROR_INVALID_VALUE;
  int i = sg_program_kernel(m->program, name);
  return i < 0 ? CUDA_ERROR_NOT_FOUND : sg_module_kernel(m, (uint32_t)i, (sg_kernel **)function);
}

CUresult sg_cuModuleGetGlobal(CUdeviceptr *pointer, size_t *bytes, CUmodule handle,
                              const char *name) {
  sg_module *m;
  CUresult r = find(handle, &m);
  if (r != CUDA_SUCCESS) return r;
  if (!name) return CUDA_ERROR_INVALID_VALUE;
  int i = sg_program_variable(m->program, name);
  if (i < 0 || (m->program->variables[i].flags & RM_VARIABLE_LOCAL)) return CUDA_ERROR_NOT_FOUND;
  if (pointer) *pointer = m->variables[i];
  if (bytes) *bytes = m->program->variables[i].bytes;
  return CUDA_SUCCESS;
}

CUresult sg_cuModuleGetFunctionCount(unsigned int *count, CUmodule handle) {
  sg_module *m;
  CUresult r = find(handle, &m);
  if (r == CUDA_SUCCESS && !count) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *count = m->program->head->kernel_count;
  return r;
}

CUresult sg_cuModuleEnumerateFunctions(CUfunction *functions, unsigned int count, CUmodule handle) {
  sg_module *m;
  CUresult r = find(handle, &m);
  if (r == CUDA_SUCCESS && !functions) r = CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; r == CUDA_SUCCESS && i < count && i < m->program->head->kernel_count; i++)
    r = sg_module_kernel(m, i, (sg_kernel **)&functions[i]);
  return r;
}
