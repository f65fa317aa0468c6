/* tensor_map.c: descriptors of tiles for the device's copy engine. The driver computes them on the
 * host, in a form that is its own, so the engine's driver is asked. */
#include <string.h>

#include "session.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define RANK_MAX 5u

CUresult rm_cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                   void *address, const cuuint64_t *dims, const cuuint64_t *strides,
                                   const cuuint32_t *box, const cuuint32_t *steps,
                                   CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                   CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  rm_call call;
  rm_a_tensor_map_tiled answer;
  CUresult status = rm_ready();
  if (status) return status;
  if (!map || !dims || !box || !steps || !rank || rank > RANK_MAX || (rank > 1 && !strides))
    return CUDA_ERROR_INVALID_VALUE;
  status = rm_call_begin(&call, RM_CALL_tensor_map_tiled, sizeof(rm_q_tensor_map_tiled));
  if (status) return status;
  rm_q_tensor_map_tiled *q = call.body;
  *q = (rm_q_tensor_map_tiled){.type = type,
                               .rank = rank,
                               .address = (uint64_t)(uintptr_t)address,
                               .interleave = interleave,
                               .swizzle = swizzle,
                               .promotion = promotion,
                               .fill = fill};
  memcpy(q->dims, dims, rank * sizeof *dims);
  if (rank > 1) memcpy(q->strides, strides, (rank - 1) * sizeof *strides);
  memcpy(q->box, box, rank * sizeof *box);
  memcpy(q->steps, steps, rank * sizeof *steps);
  status = rm_call_wait(&call, &answer, sizeof answer);
  if (!status) memcpy(map, answer.map, sizeof answer.map);
  return status;
}
