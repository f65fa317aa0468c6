/* memory.c: device memory: allocating and freeing asks the engine, which keeps the quota. */
#include "context.h"
#include "memory.h"
#include "ranges.h"
#include "session.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define PITCH 512u /* rows of a pitched allocation start on multiples of this */

CUresult rm_memory_alloc(rm_context *context, size_t bytes, void *owner, CUdeviceptr *out) {
  rm_call call;
  rm_a_mem_alloc answer;
  if (!out || !bytes) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_mem_alloc, sizeof(rm_q_mem_alloc));
  if (status) return status;
  ((rm_q_mem_alloc *)call.body)->bytes = bytes;
  status = rm_call_wait(&call, &answer, sizeof answer);
  if (status) return status;
  rm_range range = {.base = answer.ptr,
                    .bytes = bytes,
                    .kind = RM_RANGE_DEVICE,
                    .context = context,
                    .owner = owner};
  if (!rm_range_add(&range)) return CUDA_ERROR_OUT_OF_MEMORY;
  *out = answer.ptr;
  return CUDA_SUCCESS;
}

void rm_memory_forget(const rm_context *context) { rm_range_forget(context); }

static CUresult current(rm_context **context) {
  CUresult status = rm_ready();
  *context = rm_context_current();
  return status || *context ? status : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult rm_cuMemAlloc(CUdeviceptr *out, size_t bytes) {
  rm_context *context;
  CUresult status = current(&context);
  return status ? status : rm_memory_alloc(context, bytes, NULL, out);
}

CUresult rm_cuMemAllocPitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height,
                            unsigned int element) {
  rm_context *context;
  CUresult status = current(&context);
  if (status) return status;
  if (!pitch || !width || !height || (element != 4 && element != 8 && element != 16))
    return CUDA_ERROR_INVALID_VALUE;
  size_t bytes, row = (width + PITCH - 1) / PITCH * PITCH;
  if (row < width || __builtin_mul_overflow(row, height, &bytes)) return CUDA_ERROR_INVALID_VALUE;
  status = rm_memory_alloc(context, bytes, NULL, out);
  if (!status) *pitch = row;
  return status;
}

CUresult rm_cuMemFree(CUdeviceptr address) {
  CUresult status = rm_ready();
  rm_range range;
  if (status || !address) return status;
  if (!rm_range_remove(address, 1u << RM_RANGE_DEVICE, &range)) return CUDA_ERROR_INVALID_VALUE;
  rm_call call;
  status = rm_call_begin_on(&call, range.context, RM_CALL_mem_free, sizeof(rm_q_mem_free));
  if (status) return status;
  ((rm_q_mem_free *)call.body)->ptr = address;
  status = rm_call_wait(&call, NULL, 0);
  if (status)
    rm_range_add(&range); /* an earlier call's failure came instead: it can be freed again */
  else
    rm_pool_returned(&range);
  return status;
}

CUresult rm_cuMemGetInfo(size_t *free_bytes, size_t *total) {
  rm_call call;
  rm_a_mem_info answer;
  CUresult status = rm_call_begin(&call, RM_CALL_mem_info, 0);
  if (!status) status = rm_call_wait(&call, &answer, sizeof answer);
  if (!status && free_bytes) *free_bytes = answer.free;
  if (!status && total) *total = answer.total;
  return status;
}

CUresult rm_cuMemGetAddressRange(CUdeviceptr *base, size_t *bytes, CUdeviceptr address) {
  rm_range range;
  CUresult status = rm_ready();
  if (status) return status;
  if (!rm_range_find(address, &range)) return CUDA_ERROR_NOT_FOUND;
  if (base) *base = range.base;
  if (bytes) *bytes = range.bytes;
  return CUDA_SUCCESS;
}
