/* The cuMemset* family: rows of 1, 2 or 4 byte values, in stream order. */
#include "fault.h"
#include "memory.h"
#include "stream.h"
#include <string.h>

typedef struct fill_command {
  sg_command head;
  uintptr_t to;
  size_t pitch, width, rows; /* width in values */
  uint32_t value;
  unsigned value_bytes;
} fill_command;

static void fill_row(void *row, uint32_t value, unsigned value_bytes, size_t width) {
  if (value_bytes == 1)
    memset(row, (int)value, width);
  else if (value_bytes == 2)
    for (size_t i = 0; i < width; i++) ((uint16_t *)row)[i] = (uint16_t)value;
  else
    for (size_t i = 0; i < width; i++) ((uint32_t *)row)[i] = value;
}

static void fill_body(void *argument) {
  fill_command *f = argument;
  for (size_t y = 0; y < f->rows; y++)
    fill_row((void *)(f->to + y * f->pitch), f->value, f->value_bytes, f->width);
}

static CUresult run_fill(sg_command *command) { return sg_fault_guard(fill_body, command); }

static CUresult check(const fill_command *f) {
  size_t row = f->width * f->value_bytes;
  if (f->to % f->value_bytes || (f->rows > 1 && (f->pitch < row || f->pitch % f->value_bytes)))
    return CUDA_ERROR_INVALID_VALUE;
  bool covered = sg_memory_covers(f->to, (f->rows - 1) * f->pitch + row);
  return covered ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The forms without a stream only post to the default stream, but for memory that the host may look
   at as soon as they return (CUDA's "API synchronization behavior": memset). */
static bool waits_for(CUdeviceptr to, bool now) {
  sg_range range;
  if (!now || !sg_memory_find(to, &range)) return false;
  return range.managed || range.kind == SG_RANGE_HOST || range.kind == SG_RANGE_REGISTERED;
}

static CUresult fill(CUstream stream, CUdeviceptr to, size_t pitch, uint32_t value,
                     unsigned value_bytes, size_t width, size_t rows, bool now) {
  sg_context *context;
  sg_queue *queue;
  CUresult r = sg_enter_stream(stream, &context, &queue);
  if (r != CUDA_SUCCESS || !width || !rows) return r;
  fill_command f = {.to = to,
                    .pitch = pitch,
                    .width = width,
                    .rows = rows,
                    .value = value,
                    .value_bytes = value_bytes};
  r = check(&f);
  if (r != CUDA_SUCCESS) return r;
  fill_command *k = sg_command_new(sizeof *k, run_fill);
  if (!k) return CUDA_ERROR_OUT_OF_MEMORY;
  f.head = k->head;
  if (width * value_bytes * rows <= SG_QUICK_BYTES) f.head.flags = SG_QUICK;
  *k = f;
  if (waits_for(to, now)) return sg_queue_run(queue, &k->head);
  sg_queue_post(queue, &k->head);
  return CUDA_SUCCESS;
}

CUresult sg_cuMemsetD8(CUdeviceptr to, unsigned char v, size_t n) {
  return fill(NULL, to, 0, v, 1, n, 1, true);
}
CUresult sg_cuMemsetD16(CUdeviceptr to, unsigned short v, size_t n) {
  return fill(NULL, to, 0, v, 2, n, 1, true);
}
CUresult sg_cuMemsetD32(CUdeviceptr to, unsigned int v, size_t n) {
  return fill(NULL, to, 0, v, 4, n, 1, true);
}
CUresult sg_cuMemsetD8Async(CUdeviceptr to, unsigned char v, size_t n, CUstream s) {
  return fill(s, to, 0, v, 1, n, 1, false);
}
CUresult sg_cuMemsetD16Async(CUdeviceptr to, unsigned short v, size_t n, CUstream s) {
  return fill(s, to, 0, v, 2, n, 1, false);
}
CUresult sg_cuMemsetD32Async(CUdeviceptr to, unsigned int v, size_t n, CUstream s) {
  return fill(s, to, 0, v, 4, n, 1, false);
}
CUresult sg_cuMemsetD2D8(CUdeviceptr to, size_t pitch, unsigned char v, size_t w, size_t h) {
  return fill(NULL, to, pitch, v, 1, w, h, true);
}
CUresult sg_cuMemsetD2D16(CUdeviceptr to, size_t pitch, unsigned short v, size_t w, size_t h) {
  return fill(NULL, to, pitch, v, 2, w, h, true);
}
CUresult sg_cuMemsetD2D32(CUdeviceptr to, size_t pitch, unsigned int v, size_t w, size_t h) {
  return fill(NULL, to, pitch, v, 4, w, h, true);
}
CUresult sg_cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char v, size_t w, size_t h,
                              CUstream s) {
  return fill(s, to, pitch, v, 1, w, h, false);
}
CUresult sg_cuMemsetD2D16Async(CUdeviceptr to, size_t pitch, unsigned short v, size_t w, size_t h,
                               CUstream s) {
  return fill(s, to, pitch, v, 2, w, h, false);
}
CUresult sg_cuMemsetD2D32Async(CUdeviceptr to, size_t pitch, unsigned int v, size_t w, size_t h,
                               CUstream s) {
  return fill(s, to, pitch, v, 4, w, h, false);
}
