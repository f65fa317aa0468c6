/* What a program asks and sets of kernels: attributes, names, parameters, occupancy. A CUkernel may
   be given where a CUfunction is asked for, as with the vendor's driver. */
#include "module.h"
#include <stdlib.h>
#include <limits.h>

enum {
  MAX_DYNAMIC = 99 * 1024,
  THREADS_PER_PROCESSOR = 1536,
  BLOCKS_PER_PROCESSOR = 24,
  SHARED_PER_PROCESSOR = 100 * 1024,
  RESERVED_SHARED = 1024,
  REGISTERS = 32
};

static CUresult find(const void *handle, sg_kernel **kernel) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *kernel = sg_object_get(handle, SG_KERNEL);
  return *kernel ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* ---- attributes */

/* The module's, which a kernel may use all of. */
static int constant_bytes(const sg_program *p) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < p->head->variable_count; i++)
    if (p->variables[i].space == RM_SPACE_CONST) bytes += p->variables[i].bytes;
  return bytes < INT_MAX ? (int)bytes : INT_MAX;
}

static CUresult attribute(const sg_kernel *k, CUfunction_attribute a, int *value) {
  const struct rm_desc_kernel *d = sg_kernel_desc(k);
  const struct rm_desc *h = sg_kernel_program(k)->head;
  int dynamic = 48 * 1024 - (int)d->static_shared;
  switch (a) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = (int)d->max_threads; break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = (int)d->static_shared; break;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: *value = constant_bytes(sg_kernel_program(k)); break;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = (int)d->local_bytes; break;
  case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = REGISTERS; break;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = (int)h->target; break;
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = 120; break;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *value = k->max_dynamic_shared > dynamic ? k->max_dynamic_shared : dynamic;
    break;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *value = k->carveout; break;
  default:
    if ((int)a < 0 || a >= CU_FUNC_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
    *value = 0;
  }
  return CUDA_SUCCESS;
}

static CUresult set_attribute(sg_kernel *k, CUfunction_attribute a, int value) {
  const struct rm_desc_kernel *d = sg_kernel_desc(k);
  switch (a) {
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    if (value < 0 || value + (int)d->static_shared > MAX_DYNAMIC) return CUDA_ERROR_INVALID_VALUE;
    k->max_dynamic_shared = value;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    if (value < -1 || value > 100) return CUDA_ERROR_INVALID_VALUE;
    k->carveout = value;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED: return CUDA_SUCCESS;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult sg_cuFuncGetAttribute(int *value, CUfunction_attribute a, CUfunction function) {
  sg_kernel *k;
  CUresult r = find(function, &k);
  if (r == CUDA_SUCCESS && !value) r = CUDA_ERROR_INVALID_VALUE;
  return r == CUDA_SUCCESS ? attribute(k, a, value) : r;
}

CUresult sg_cuKernelGetAttribute(int *value, CUfunction_attribute a, CUkernel kernel, CUdevice d) {
  if (!sg_device_at(d)) return CUDA_ERROR_INVALID_DEVICE;
  return sg_cuFuncGetAttribute(value, a, (CUfunction)kernel);
}

CUresult sg_cuFuncSetAttribute(CUfunction function, CUfunction_attribute a, int value) {
  sg_kernel *k;
  CUresult r = find(function, &k);
  return r == CUDA_SUCCESS ? set_attribute(k, a, value) : r;
}

CUresult sg_cuKernelSetAttribute(CUfunction_attribute a, int value, CUkernel kernel, CUdevice d) {
  if (!sg_device_at(d)) return CUDA_ERROR_INVALID_DEVICE;
  return sg_cuFuncSetAttribute((CUfunction)kernel, a, value);
}

CUresult sg_cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
  sg_kernel *k;
  (void)config; /* caches are the CPU's own */
  return find(function, &k);
}

CUresult sg_cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice d) {
  (void)d;
  return sg_cuFuncSetCacheConfig((CUfunction)kernel, config);
}

/* ---- names and parts */

CUresult sg_cuFuncGetName(const char **name, CUfunction function) {
  sg_kernel *k;
  CUresult r = find(function, &k);
  if (r == CUDA_SUCCESS && !name) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *name = sg_program_name(sg_kernel_program(k), sg_kernel_desc(k)->name);
  return r;
}

CUresult sg_cuKernelGetName(const char **name, CUkernel kernel) {
  return sg_cuFuncGetName(name, (CUfunction)kernel);
}

CUresult sg_cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
  sg_kernel *k;
  CUresult r = find(function, &k);
  if (r != CUDA_SUCCESS) return r;
  const struct rm_desc_kernel *d = sg_kernel_desc(k);
  if (!offset || index >= d->param_count) return CUDA_ERROR_INVALID_VALUE;
  const struct rm_desc_param *p = &sg_kernel_program(k)->params[d->first_param + index];
  *offset = p->offset;
  if (size) *size = p->size;
  return CUDA_SUCCESS;
}

CUresult sg_cuKernelGetParamInfo(CUkernel kernel, size_t index, size_t *offset, size_t *size) {
  return sg_cuFuncGetParamInfo((CUfunction)kernel, index, offset, size);
}

CUresult sg_cuFuncGetModule(CUmodule *module, CUfunction function) {
  sg_kernel *k;
  sg_context *c;
  CUresult r = find(function, &k);
  if (r == CUDA_SUCCESS) r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !module) r = CUDA_ERROR_INVALID_VALUE;
  return r == CUDA_SUCCESS ? sg_kernel_module(k, c, (sg_module **)module) : r;
}

CUresult sg_cuKernelGetLibrary(CUlibrary *library, CUkernel kernel) {
  sg_kernel *k;
  CUresult r = find(kernel, &k);
  if (r == CUDA_SUCCESS && (!library || !k->library)) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *library = (CUlibrary)k->library;
  return r;
}

CUresult sg_cuKernelGetFunction(CUfunction *function, CUkernel kernel) {
  sg_kernel *k, *found;
  sg_context *c;
  sg_module *m;
  CUresult r = find(kernel, &k);
  if (r == CUDA_SUCCESS) r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !function) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) r = sg_kernel_module(k, c, &m);
  if (r == CUDA_SUCCESS) r = sg_module_kernel(m, k->index, &found);
  if (r != CUDA_SUCCESS) return r;
  if (k->max_dynamic_shared > found->max_dynamic_shared)
    found->max_dynamic_shared = k->max_dynamic_shared;
  *function = (CUfunction)found;
  return CUDA_SUCCESS;
}

/* The module's code of the kernel in the current context, and whether it is there already. */
static CUresult code_of(CUfunction function, sg_module **module, sg_kernel **k) {
  sg_context *c;
  CUresult r = find(function, k);
  if (r == CUDA_SUCCESS) r = sg_enter(&c);
  return r == CUDA_SUCCESS ? sg_kernel_module(*k, c, module) : r;
}

CUresult sg_cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function) {
  sg_module *m;
  sg_kernel *k;
  CUresult r = code_of(function, &m, &k);
  if (r == CUDA_SUCCESS && !state) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS)
    *state =
        m->codes[k->index] ? CU_FUNCTION_LOADING_STATE_LOADED : CU_FUNCTION_LOADING_STATE_UNLOADED;
  return r;
}

CUresult sg_cuFuncLoad(CUfunction function) {
  sg_module *m;
  sg_kernel *k;
  sg_kernel_code *code;
  CUresult r = code_of(function, &m, &k);
  return r == CUDA_SUCCESS ? sg_module_code(m, k->index, &code) : r;
}

/* ---- occupancy: what the reported limits allow on one multiprocessor */

static int smaller(int a, int b) { return a < b ? a : b; }

static int blocks_that_fit(const sg_kernel *k, int threads, size_t dynamic) {
  const struct rm_desc_kernel *d = sg_kernel_desc(k);
  if (threads < 1 || threads > (int)d->max_threads) return 0;
  int warps = (threads + 31) / 32;
  size_t shared = d->static_shared + dynamic + RESERVED_SHARED;
  int blocks = smaller(BLOCKS_PER_PROCESSOR, THREADS_PER_PROCESSOR / 32 / warps);
  return smaller(blocks, (int)(SHARED_PER_PROCESSOR / shared));
}

CUresult sg_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                                 int threads, size_t dynamic,
                                                                 unsigned int flags) {
  sg_kernel *k;
  (void)flags;
  CUresult r = find(function, &k);
  if (r == CUDA_SUCCESS && (!blocks || threads < 1)) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *blocks = blocks_that_fit(k, threads, dynamic);
  return r;
}

CUresult sg_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function,
                                                        int threads, size_t dynamic) {
  return sg_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, dynamic,
                                                                 0);
}

CUresult sg_cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction function, int blocks,
                                                    int threads) {
  sg_kernel *k;
  CUresult r = find(function, &k);
  if (r == CUDA_SUCCESS && (!bytes || blocks < 1 || threads < 1)) r = CUDA_ERROR_INVALID_VALUE;
  if (r != CUDA_SUCCESS) return r;
  int used = (int)sg_kernel_desc(k)->static_shared + RESERVED_SHARED;
  int left = SHARED_PER_PROCESSOR / blocks - used;
  *bytes = left > 0 ? (size_t)smaller(left, MAX_DYNAMIC) : 0;
  return CUDA_SUCCESS;
}

/* The block size that keeps most threads resident; the smallest such grid fills the device. */
static CUresult potential(int *grid, int *block, CUfunction function, CUoccupancyB2DSize bytes_for,
                          size_t dynamic, int limit) {
  sg_kernel *k;
  CUresult r = find(function, &k);
  if (r == CUDA_SUCCESS && (!grid || !block)) r = CUDA_ERROR_INVALID_VALUE;
  if (r != CUDA_SUCCESS) return r;
  int most = (int)sg_kernel_desc(k)->max_threads, best = 0;
  if (limit > 0) most = smaller(most, limit);
  for (int threads = most; threads > 0; threads = threads % 32 ? threads / 32 * 32 : threads - 32) {
    int blocks = blocks_that_fit(k, threads, bytes_for ? bytes_for(threads) : dynamic);
    if (blocks * threads <= best) continue;
    best = blocks * threads;
    *block = threads;
    *grid = blocks * sg_config()->processors;
  }
  return best ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sg_cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function,
                                             CUoccupancyB2DSize bytes_for, size_t dynamic,
                                             int limit) {
  return potential(grid, block, function, bytes_for, dynamic, limit);
}

CUresult sg_cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction function,
                                                      CUoccupancyB2DSize bytes_for, size_t dynamic,
                                                      int limit, unsigned int flags) {
  (void)flags;
  return potential(grid, block, function, bytes_for, dynamic, limit);
}
