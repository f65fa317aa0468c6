/* copy.c: the one-dimensional copies, and choosing a direction by what the addresses are. */
#include <string.h>

#include "copy.h"
#include "ranges.h"
#include "session.h"
#include "shared.h"
#include "../generated/local.h"
#include "../generated/records.h"

/* Device memory lies in the reserved range; a module's variable may lie anywhere. */
static bool is_device(uint64_t address) {
  rm_range range;
  return rm_is_device_address(address) ||
         (rm_range_find(address, &range) && range.kind == RM_RANGE_GLOBAL);
}

/* An operand that the call says is device memory, though it may be mapped host memory. */
static bool is_device_operand(uint64_t address) {
  rm_range range;
  return rm_is_device_address(address) ||
         !(rm_range_find(address, &range) && rm_range_pinned(&range));
}

static CUresult copy_device(const rm_target *stream, const rm_side *to, const rm_side *from,
                            size_t width, size_t rows) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, stream->context, RM_CALL_copy_device, sizeof(rm_q_copy_device));
  if (status) return status;
  rm_tls.touched = stream->progress;
  *(rm_q_copy_device *)call.body = (rm_q_copy_device){.stream = stream->id,
                                                      .dst = to->base,
                                                      .dst_pitch = to->pitch,
                                                      .src = from->base,
                                                      .src_pitch = from->pitch,
                                                      .width = width,
                                                      .rows = rows};
  return rm_call_post(&call);
}

static CUresult wait_for_stream(const rm_target *stream) {
  rm_call call;
  CUresult status =
      rm_call_begin_on(&call, stream->context, RM_CALL_stream_sync, sizeof(rm_q_stream_sync));
  if (status) return status;
  ((rm_q_stream_sync *)call.body)->stream = stream->id;
  return rm_call_wait(&call, NULL, 0);
}

/* Both sides are here: in stream order means once the stream has got there. */
static CUresult copy_host(const rm_target *stream, const rm_side *to, const rm_side *from,
                          size_t width, size_t rows) {
  CUresult status = wait_for_stream(stream);
  for (size_t row = 0; row < rows && !status; row++)
    memmove((char *)(uintptr_t)to->base + row * to->pitch,
            (const char *)(uintptr_t)from->base + row * from->pitch, width);
  return status;
}

static rm_rows rows_of(const rm_side *side, size_t width, size_t rows) {
  return (rm_rows){
      .base = (char *)(uintptr_t)side->base, .pitch = side->pitch, .width = width, .rows = rows};
}

/* Of memory that this side knows; the engine checks what it doesn't. */
static bool fits(const rm_side *side, size_t width, size_t rows) {
  rm_range range;
  size_t extent;
  if (__builtin_mul_overflow(rows - 1, side->pitch, &extent) ||
      __builtin_add_overflow(extent, width, &extent) || side->base + extent < side->base)
    return false;
  if (!side->device || !rm_range_find(side->base, &range) || range.kind != RM_RANGE_DEVICE)
    return true;
  return extent <= range.bytes - (side->base - range.base);
}

static CUresult copy(const rm_target *stream, rm_side to, rm_side from, size_t width, size_t rows,
                     bool sync) {
  if (!fits(&to, width, rows) || !fits(&from, width, rows)) return CUDA_ERROR_INVALID_VALUE;
  if (rows > 1 && to.pitch == width && from.pitch == width) width *= rows, rows = 1;
  rm_rows there = rows_of(&to, width, rows), here = rows_of(&from, width, rows);
  if (to.device && from.device) return copy_device(stream, &to, &from, width, rows);
  if (to.device) return rm_copy_in(stream, &to, &here, sync);
  if (from.device) return rm_copy_out(stream, &there, &from, sync);
  return copy_host(stream, &to, &from, width, rows);
}

static bool share(rm_side *side) {
  bool shared = rm_shared_translate(&side->base);
  side->device |= shared;
  return shared;
}

/* Of shared memory, the device's copy is what other work sees in stream order. */
static CUresult copy_shared(const rm_target *stream, rm_side to, rm_side from, size_t width,
                            size_t rows, bool sync) {
  bool filled = share(&to), used = share(&from);
  CUresult status = filled || used ? rm_shared_flush(stream->context, false) : CUDA_SUCCESS;
  if (!status) status = copy(stream, to, from, width, rows, sync);
  return !status && (filled || sync) ? rm_shared_settle(stream->context, filled) : status;
}

CUresult rm_copy(const rm_target *stream, rm_side to, rm_side from, size_t width, size_t rows,
                 bool sync) {
  if (!width || !rows) return CUDA_SUCCESS;
  return rm_shared_any() ? copy_shared(stream, to, from, width, rows, sync)
                         : copy(stream, to, from, width, rows, sync);
}

static CUresult copy_line(CUstream handle, rm_side to, rm_side from, size_t bytes, bool sync) {
  rm_target stream;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &stream);
  if (status) return status;
  if (bytes && (!to.base || !from.base)) return CUDA_ERROR_INVALID_VALUE;
  to.pitch = from.pitch = bytes;
  return rm_copy(&stream, to, from, bytes, 1, sync);
}

static rm_side device_side(CUdeviceptr p) {
  return (rm_side){.base = p, .device = is_device_operand(p)};
}
static rm_side host_side(const void *p) {
  uint64_t base = (uint64_t)(uintptr_t)p;
  return (rm_side){.base = base, .device = rm_is_device_address(base)};
}
static rm_side any_side(CUdeviceptr p) { return (rm_side){.base = p, .device = is_device(p)}; }

CUresult rm_cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy_line(NULL, any_side(to), any_side(from), bytes, true);
}

CUresult rm_cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy_line(stream, any_side(to), any_side(from), bytes, false);
}

CUresult rm_cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return copy_line(NULL, device_side(to), host_side(from), bytes, true);
}

CUresult rm_cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy_line(stream, device_side(to), host_side(from), bytes, false);
}

CUresult rm_cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  return copy_line(NULL, host_side(to), device_side(from), bytes, true);
}

CUresult rm_cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy_line(stream, host_side(to), device_side(from), bytes, false);
}
