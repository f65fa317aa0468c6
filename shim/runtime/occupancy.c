/* occupancy.c: the occupancy questions that take a program's callback or a launch configuration. */
#include <string.h>

#include "launch.h"
#include "session.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

enum { ACTIVE_CLUSTERS, POTENTIAL_CLUSTER_SIZE };

static CUresult ask(int *value, CUfunction handle, const CUlaunchConfig *c, uint32_t what) {
  uint64_t function;
  uint32_t flags = 0;
  if (!value || !c || (c->numAttrs && !c->attrs) || c->numAttrs > 64)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult status = rm_id_kernel(handle, &function);
  if (!status) status = rm_launch_attributes(c->attrs, c->numAttrs, &flags);
  if (status) return status;
  rm_call call;
  rm_a_occupancy_clusters answer;
  uint32_t attributes = (uint32_t)(c->numAttrs * sizeof(CUlaunchAttribute));
  status = rm_call_begin(&call, RM_CALL_occupancy_clusters,
                         (uint32_t)sizeof(rm_q_occupancy_clusters) + attributes);
  if (status) return status;
  rm_q_occupancy_clusters *q = call.body;
  *q = (rm_q_occupancy_clusters){.function = function,
                                 .grid = {c->gridDimX, c->gridDimY, c->gridDimZ},
                                 .block = {c->blockDimX, c->blockDimY, c->blockDimZ},
                                 .shared = c->sharedMemBytes,
                                 .attr_count = c->numAttrs,
                                 .what = what};
  if (attributes) memcpy(q + 1, c->attrs, attributes);
  status = rm_call_wait(&call, &answer, sizeof answer);
  if (!status) *value = answer.value;
  return status;
}

CUresult rm_cuOccupancyMaxActiveClusters(int *clusters, CUfunction f, const CUlaunchConfig *c) {
  return ask(clusters, f, c, ACTIVE_CLUSTERS);
}

CUresult rm_cuOccupancyMaxPotentialClusterSize(int *size, CUfunction f, const CUlaunchConfig *c) {
  return ask(size, f, c, POTENTIAL_CLUSTER_SIZE);
}

/* The largest block that keeps most threads resident: tried from the limit down, warp by warp. */
static CUresult best_block(CUfunction f, CUoccupancyB2DSize dynamic, size_t shared, int limit,
                           unsigned flags, int *block, int *blocks) {
  int best = 0;
  *block = *blocks = 0;
  for (int size = limit; size > 0; size = (size - 1) / 32 * 32) {
    int fit;
    CUresult status = rm_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        &fit, f, size, dynamic ? dynamic(size) : shared, flags);
    if (status) return status;
    if (fit * size > best) {
      best = fit * size;
      *block = size;
      *blocks = fit;
    }
  }
  return CUDA_SUCCESS;
}

CUresult rm_cuOccupancyMaxPotentialBlockSizeWithFlags(int *min_grid, int *block, CUfunction handle,
                                                      CUoccupancyB2DSize dynamic, size_t shared,
                                                      int limit, unsigned int flags) {
  int blocks;
  CUresult status = rm_ready();
  if (status) return status;
  const rm_function *f = rm_object_get(RM_FUNCTION, handle);
  const rm_context *context = rm_context_current();
  if (!f || !context) return f ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_HANDLE;
  if (!min_grid || !block || limit < 0) return CUDA_ERROR_INVALID_VALUE;
  int most = f->attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK];
  status = best_block(handle, dynamic, shared, limit && limit < most ? limit : most, flags, block,
                      &blocks);
  const int32_t *device = rm_session.devices[context->device].attributes;
  *min_grid = blocks * device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT];
  return status;
}

CUresult rm_cuOccupancyMaxPotentialBlockSize(int *min_grid, int *block, CUfunction f,
                                             CUoccupancyB2DSize dynamic, size_t shared, int limit) {
  return rm_cuOccupancyMaxPotentialBlockSizeWithFlags(min_grid, block, f, dynamic, shared, limit,
                                                      0);
}
