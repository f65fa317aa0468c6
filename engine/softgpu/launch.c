/* The cuLaunch* family: checks, packs the parameters, posts the grid to its stream. */
#include "grid.h"
#include "memory.h"
#include "queue.h"
#include "settings.h"
#include "simulate.h"
#include "stream.h"
#include <stdlib.h>
#include <string.h>

enum {
  MAX_THREADS = 1024,
  MAX_SHARED = 99 * 1024,
  STATIC_SHARED = 48 * 1024,
  WORKSPACE_BYTES = 64
};

typedef struct launch_command {
  sg_command head;
  sg_grid grid;
  uint32_t *workspace; /* of a cooperative launch */
  _Alignas(16) uint8_t params[];
} launch_command;

typedef struct launch {
  uint32_t blocks[3], threads[3];
  uint32_t dynamic_shared;
  CUstream stream;
  bool cooperative;
  void **params, **extra;
} launch;

/* ---- checks */

static uint64_t product(const uint32_t v[3]) { return (uint64_t)v[0] * v[1] * v[2]; }

static bool matches_required(const struct rm_desc_kernel *k, const uint32_t threads[3]) {
  if (!k->reqntid[0]) return true;
  for (int i = 0; i < 3; i++)
    if ((k->reqntid[i] ? k->reqntid[i] : 1) != threads[i]) return false;
  return true;
}

static bool fits_device(const launch *l) {
  static const uint32_t blocks[3] = {0x7fffffff, 65535, 65535}, threads[3] = {1024, 1024, 64};
  for (int i = 0; i < 3; i++)
    if (l->blocks[i] > blocks[i] || l->threads[i] > threads[i]) return false;
  uint64_t each = product(l->threads);
  return product(l->blocks) && each && each <= MAX_THREADS;
}

/* The CUDA runtime hands on whatever code a launch returns, and its users know
 * cudaErrorInvalidConfiguration (9); callers of the driver API are told another. */
static CUresult bad_geometry(const sg_kernel *k) {
  return k->library && k->library->of_runtime ? (CUresult)9 : CUDA_ERROR_INVALID_VALUE;
}

static CUresult check_sizes(const launch *l, const sg_kernel *k) {
  const struct rm_desc_kernel *d = sg_kernel_desc(k);
  uint64_t threads = product(l->threads);
  if (!fits_device(l)) return bad_geometry(k);
  if (threads > d->max_threads) return CUDA_ERROR_INVALID_VALUE; /* its launch bounds */
  if (!matches_required(d, l->threads)) return CUDA_ERROR_INVALID_VALUE;
  uint32_t dynamic =
      STATIC_SHARED - (d->static_shared < STATIC_SHARED ? d->static_shared : STATIC_SHARED);
  if (k->max_dynamic_shared > (int)dynamic) dynamic = (uint32_t)k->max_dynamic_shared;
  bool fits = l->dynamic_shared <= dynamic && l->dynamic_shared + d->static_shared <= MAX_SHARED;
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* All blocks of a cooperative grid must fit on the device at once. */
static CUresult check_cooperative(const launch *l, CUfunction function) {
  int each = 0;
  CUresult r = sg_cuOccupancyMaxActiveBlocksPerMultiprocessor(
      &each, function, (int)product(l->threads), l->dynamic_shared);
  if (r != CUDA_SUCCESS) return r;
  bool fits = product(l->blocks) <= (uint64_t)each * (uint64_t)sg_config()->processors;
  return fits ? CUDA_SUCCESS : CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
}

/* ---- parameters */

static CUresult from_buffer(void **extra, uint8_t *to, size_t room) {
  const void *buffer = NULL;
  size_t bytes = 0;
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
      buffer = extra[1];
    else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
      bytes = *(const size_t *)extra[1];
    else
      return CUDA_ERROR_INVALID_VALUE;
  }
  if (room && !buffer) return CUDA_ERROR_INVALID_VALUE;
  memcpy(to, buffer ? buffer : "", bytes < room ? bytes : room);
  return CUDA_SUCCESS;
}

static CUresult pack(const launch *l, const sg_kernel *k, uint8_t *to) {
  const struct rm_desc_kernel *d = sg_kernel_desc(k);
  const struct rm_desc_param *p = &sg_kernel_program(k)->params[d->first_param];
  if (l->params && l->extra) return CUDA_ERROR_INVALID_VALUE;
  if (l->extra) return from_buffer(l->extra, to, d->param_bytes);
  if (!l->params && d->param_count) return CUDA_ERROR_INVALID_VALUE;
  for (uint32_t i = 0; i < d->param_count; i++) {
    if (!l->params[i]) return CUDA_ERROR_INVALID_VALUE;
    memcpy(to + p[i].offset, l->params[i], p[i].size);
  }
  return CUDA_SUCCESS;
}

/* ---- the command */

static CUresult run_launch(sg_command *command) {
  sg_grid *g = &((launch_command *)command)->grid;
  sg_stay stay;
  g->priority = command->queue->priority;
  sg_simulate_enter(&stay, command->queue->context->device, product(g->blocks), g->thread_count,
                    g->priority);
  CUresult r = sg_grid_run(g);
  sg_simulate_leave(&stay);
  return r;
}

static void end_launch(sg_command *command) { free(((launch_command *)command)->workspace); }

/* The workspace that grid-wide synchronisation finds through %envreg1 (high half of its address)
   and %envreg2 (low half): its size, then the barrier (cooperative_groups/details/driver_abi.h). */
static bool add_workspace(launch_command *c) {
  c->workspace = aligned_alloc(WORKSPACE_BYTES, WORKSPACE_BYTES);
  if (!c->workspace) return false;
  memset(c->workspace, 0, WORKSPACE_BYTES);
  c->workspace[0] = WORKSPACE_BYTES;
  c->grid.envreg[1] = (uint32_t)((uint64_t)(uintptr_t)c->workspace >> 32);
  c->grid.envreg[2] = (uint32_t)(uintptr_t)c->workspace;
  return true;
}

static launch_command *new_command(size_t param_bytes) {
  size_t bytes = sg_round_up(sizeof(launch_command) + param_bytes + 16, 64);
  launch_command *c = aligned_alloc(64, bytes);
  if (!c) return NULL;
  memset(c, 0, bytes);
  c->head.run = run_launch;
  c->head.end = end_launch;
  c->grid.params = c->params;
  return c;
}

static CUresult fill(launch_command *c, const launch *l, const sg_kernel *k, sg_kernel_code *code) {
  sg_grid *g = &c->grid;
  g->info = code->info;
  g->entry = code->entry;
  g->block_ns = &code->block_ns;
  memcpy(g->blocks, l->blocks, sizeof g->blocks);
  memcpy(g->threads, l->threads, sizeof g->threads);
  g->thread_count = (uint32_t)product(l->threads);
  g->dynamic_shared = l->dynamic_shared;
  if (l->cooperative && !add_workspace(c)) return CUDA_ERROR_OUT_OF_MEMORY;
  return pack(l, k, c->params);
}

static CUresult post(CUfunction function, const launch *l) {
  sg_context *context;
  sg_queue *queue;
  sg_module *module;
  sg_kernel_code *code;
  CUresult r = sg_enter_stream(l->stream, &context, &queue);
  if (r != CUDA_SUCCESS) return r;
  sg_kernel *k = sg_object_get(function, SG_KERNEL);
  if (!k) return CUDA_ERROR_INVALID_HANDLE;
  r = check_sizes(l, k);
  if (r == CUDA_SUCCESS && l->cooperative) r = check_cooperative(l, function);
  if (r == CUDA_SUCCESS) r = sg_kernel_module(k, context, &module);
  if (r == CUDA_SUCCESS && module->context != context) r = CUDA_ERROR_INVALID_CONTEXT;
  if (r == CUDA_SUCCESS) r = sg_module_code(module, k->index, &code);
  if (r != CUDA_SUCCESS) return r;
  launch_command *c = new_command(sg_kernel_desc(k)->param_bytes);
  if (!c) return CUDA_ERROR_OUT_OF_MEMORY;
  r = fill(c, l, k, code);
  if (r == CUDA_SUCCESS) {
    sg_queue_post(queue, &c->head);
    return r;
  }
  free(c->workspace);
  free(c);
  return r;
}

/* ---- calls */

CUresult sg_cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz,
                           unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared,
                           CUstream stream, void **params, void **extra) {
  launch l = {{gx, gy, gz}, {bx, by, bz}, shared, stream, false, params, extra};
  return post(function, &l);
}

CUresult sg_cuLaunchCooperativeKernel(CUfunction function, unsigned int gx, unsigned int gy,
                                      unsigned int gz, unsigned int bx, unsigned int by,
                                      unsigned int bz, unsigned int shared, CUstream stream,
                                      void **params) {
  launch l = {{gx, gy, gz}, {bx, by, bz}, shared, stream, true, params, NULL};
  return post(function, &l);
}

/* Attributes that change what a kernel computes are obeyed or refused; hints are accepted. */
static CUresult take_attribute(launch *l, const CUlaunchAttribute *a) {
  switch (a->id) {
  case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    l->cooperative = a->value.cooperative != 0;
    return CUDA_SUCCESS;
  case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION: {
    bool single = a->value.clusterDim.x * a->value.clusterDim.y * a->value.clusterDim.z <= 1;
    return single ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
  }
  case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
  case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT: return CUDA_ERROR_NOT_SUPPORTED;
  default: return CUDA_SUCCESS;
  }
}

CUresult sg_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params,
                             void **extra) {
  if (!config || (config->numAttrs && !config->attrs)) return CUDA_ERROR_INVALID_VALUE;
  launch l = {{config->gridDimX, config->gridDimY, config->gridDimZ},
              {config->blockDimX, config->blockDimY, config->blockDimZ},
              config->sharedMemBytes,
              config->hStream,
              false,
              params,
              extra};
  for (unsigned i = 0; i < config->numAttrs; i++) {
    CUresult r = take_attribute(&l, &config->attrs[i]);
    if (r != CUDA_SUCCESS) return r;
  }
  return post(function, &l);
}
