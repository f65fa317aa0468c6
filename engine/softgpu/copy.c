/* The engine behind every copy call. Host and device memory are alike to the CPU; what differs is
   the order that CUDA promises: a copy from pageable memory has consumed it when the call returns
   (small ones are staged, large ones waited for), a copy to pageable memory has filled it. */
#include "copy.h"
#include "fault.h"
#include "memory.h"
#include "settings.h"
#include "simulate.h"
#include "stream.h"
#include <stdlib.h>
#include <string.h>

enum { STAGE_BYTES = 64 * 1024 };

typedef struct copy_command {
  sg_command head;
  sg_copy copy;
  sg_way way;       /* between host and device, where copies have a speed of their own */
  uint8_t staged[]; /* the source, where it had to be consumed at once */
} copy_command;

static void copy_body(void *argument) {
  const sg_copy *c = argument;
  for (size_t z = 0; z < c->depth; z++)
    for (size_t y = 0; y < c->rows; y++)
      memmove((void *)(c->to + z * c->to_slice + y * c->to_pitch),
              (void *)(c->from + z * c->from_slice + y * c->from_pitch), c->width);
}

static CUresult run_copy(sg_command *command) {
  const copy_command *k = (copy_command *)command;
  int64_t begun = k->way ? sg_simulate_now() : 0;
  CUresult r = sg_fault_guard(copy_body, (void *)&k->copy);
  sg_simulate_copy(command->queue->context->device, k->way,
                   k->copy.width * k->copy.rows * k->copy.depth, begun);
  return r;
}

/* One row where the rows lie without gaps. */
static void flatten(sg_copy *c) {
  if (c->rows > 1 && c->to_pitch == c->width && c->from_pitch == c->width &&
      (c->depth == 1 ||
       (c->to_slice == c->rows * c->width && c->from_slice == c->rows * c->width))) {
    c->width *= c->rows * c->depth;
    c->rows = c->depth = 1;
  }
}

static size_t extent(const sg_copy *c, size_t pitch, size_t slice) {
  return (c->depth - 1) * slice + (c->rows - 1) * pitch + c->width;
}

static bool pageable(uintptr_t address) {
  sg_range range;
  return !sg_memory_find(address, &range);
}

/* Known memory must hold all of the copy; what is not known is the program's pageable memory. */
static bool fits(uintptr_t address, size_t bytes) {
  sg_range range;
  if (!sg_memory_find(address, &range)) return true;
  return range.kind == SG_RANGE_REGISTERED || sg_memory_covers(address, bytes);
}

static CUresult check(const sg_copy *c) {
  if (c->rows > 1 && (c->to_pitch < c->width || c->from_pitch < c->width))
    return CUDA_ERROR_INVALID_VALUE;
  if (!c->to || !c->from) return CUDA_ERROR_INVALID_VALUE;
  bool ok = fits(c->to, extent(c, c->to_pitch, c->to_slice)) &&
            fits(c->from, extent(c, c->from_pitch, c->from_slice));
  return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool on_host(uintptr_t address) {
  sg_range range;
  return !sg_memory_find(address, &range) || range.kind == SG_RANGE_HOST ||
         range.kind == SG_RANGE_REGISTERED;
}

static sg_way way_of(const sg_copy *c) {
  bool from_host = on_host(c->from), to_host = on_host(c->to);
  if (!sg_config()->copy_mib_s || from_host == to_host) return SG_WAY_NONE;
  return from_host ? SG_WAY_IN : SG_WAY_OUT;
}

static copy_command *new_command(const sg_copy *c, size_t stage_bytes) {
  copy_command *k = sg_command_new(sizeof *k + stage_bytes, run_copy);
  if (!k) return NULL;
  k->copy = *c;
  return k;
}

static void stage(copy_command *k) {
  sg_copy *c = &k->copy;
  sg_copy in = *c;
  in.to = (uintptr_t)k->staged;
  in.to_pitch = c->width;
  in.to_slice = c->rows * c->width;
  copy_body(&in);
  c->from = in.to;
  c->from_pitch = in.to_pitch;
  c->from_slice = in.to_slice;
}

/* ---- a copy of the default stream that touches another device is in order with all work of both
 */

static CUresult run_nothing(sg_command *command) {
  (void)command;
  return CUDA_SUCCESS;
}

/* The default stream of the device that the memory is of, if that is not the context's own. */
static sg_queue *other_default(const sg_context *here, uintptr_t address) {
  sg_range range;
  if (!sg_memory_find(address, &range) || !range.device || range.device == here->device)
    return NULL;
  if (range.kind == SG_RANGE_HOST || range.kind == SG_RANGE_REGISTERED) return NULL;
  return range.device->primary->active ? range.device->primary->legacy : NULL;
}

/* Lets the queue wait for all that the other has to do, its blocking streams included. */
static CUresult wait_for_other(sg_queue *queue, sg_queue *other) {
  if (!other) return CUDA_SUCCESS;
  sg_command *mark = sg_command_new(sizeof *mark, run_nothing);
  if (!mark) return CUDA_ERROR_OUT_OF_MEMORY;
  return sg_queue_post_wait(queue, other, sg_queue_post(other, mark));
}

/* Posts the command, or waits for it; the others' later work comes after it. */
static CUresult post_between(sg_queue *queue, sg_command *command, sg_queue *others[2],
                             bool waits) {
  CUresult r = wait_for_other(queue, others[0]);
  if (r == CUDA_SUCCESS) r = wait_for_other(queue, others[1]);
  if (waits) return sg_queue_run(queue, command);
  uint64_t place = sg_queue_post(queue, command);
  for (int i = 0; i < 2 && r == CUDA_SUCCESS; i++)
    if (others[i]) r = sg_queue_post_wait(others[i], queue, place);
  return r;
}

CUresult sg_copy_post(CUstream stream, const sg_copy *copy, sg_when when) {
  sg_context *context;
  sg_queue *queue;
  sg_copy c = *copy;
  CUresult r = sg_enter_stream(stream, &context, &queue);
  if (r != CUDA_SUCCESS || !c.width || !c.rows || !c.depth) return r;
  flatten(&c);
  r = check(&c);
  if (r != CUDA_SUCCESS) return r;
  size_t bytes = c.width * c.rows * c.depth;
  bool stages = when == SG_LATER && bytes <= STAGE_BYTES && pageable(c.from);
  bool waits = when == SG_NOW || pageable(c.to) || (!stages && pageable(c.from));
  copy_command *k = new_command(&c, stages ? bytes : 0);
  if (!k) return CUDA_ERROR_OUT_OF_MEMORY;
  k->way = way_of(&c);
  if (bytes <= SG_QUICK_BYTES && !k->way) k->head.flags = SG_QUICK;
  if (stages) stage(k);
  sg_queue *others[2] = {NULL, NULL};
  if (queue == context->legacy) {
    others[0] = other_default(context, c.from);
    others[1] = other_default(context, c.to);
  }
  return post_between(queue, &k->head, others, waits);
}
