/* launch.c: kernel launches. Parameters are packed straight into the record by the layout that came
 * with the function; nothing is allocated and nothing waited for. */
#include <string.h>

#include "launch.h"
#include "memory.h"
#include "progress.h"
#include "ranges.h"
#include "session.h"
#include "shared.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define COOPERATIVE 1u
/* cudaErrorInvalidConfiguration: the CUDA runtime hands on whatever code a launch returns, and its
 * users know this one; callers of the driver API are told CUDA_ERROR_INVALID_VALUE. */
#define RUNTIME_INVALID_CONFIGURATION ((CUresult)9)
#define PACKED_MAX 65536u        /* bytes of packed parameters; CUDA allows 32,764 */
#define SHARED_ALWAYS (48 << 10) /* bytes of shared memory that a kernel gets without asking */
#define REGISTERS (64 << 10)     /* of a block, on every device that CUDA 13 knows */

/* Where a launch's parameters are: kernelParams, or one packed buffer. */
typedef struct arguments {
  void **each;
  const void *packed;
  uint32_t bytes;
} arguments;

static CUresult unpack_extra(void **extra, arguments *args) {
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER)
      args->packed = extra[1];
    else if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE && *(const size_t *)extra[1] <= PACKED_MAX)
      args->bytes = (uint32_t)*(const size_t *)extra[1];
    else
      return CUDA_ERROR_INVALID_VALUE;
  }
  return args->packed || !args->bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult arguments_of(const rm_function *f, void **each, void **extra, arguments *args) {
  *args = (arguments){.each = each, .bytes = f->param_bytes};
  if (each && extra) return CUDA_ERROR_INVALID_VALUE;
  if (extra) {
    args->bytes = 0;
    return unpack_extra(extra, args);
  }
  return each || !f->param_count ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static void pack(const rm_function *f, const arguments *args, char *to) {
  if (!args->each) {
    if (args->bytes) memcpy(to, args->packed, args->bytes);
    return;
  }
  memset(to, 0, args->bytes); /* the gaps between parameters */
  for (uint32_t i = 0; i < f->param_count; i++)
    memcpy(to + f->params[i].offset, args->each[i], f->params[i].size);
}

/* ---- pinned memory among the parameters: one address space for programs, so they pass the host's
 * address; the device has its copy elsewhere, which is made when it is first passed */

typedef CUresult (*visitor)(rm_context *context, uint64_t *word);

static CUresult each_pinned(rm_context *context, char *bytes, uint32_t n, visitor visit) {
  CUresult status = CUDA_SUCCESS;
  for (uint32_t at = 0; at + sizeof(uint64_t) <= n && !status; at += sizeof(uint64_t)) {
    uint64_t word, before;
    memcpy(&word, bytes + at, sizeof word);
    if (!rm_pinned_perhaps(before = word)) continue;
    status = visit(context, &word);
    if (word != before) memcpy(bytes + at, &word, sizeof word);
  }
  return status;
}

static CUresult have_mirror(rm_context *context, uint64_t *word) {
  rm_range range;
  uint64_t address = *word;
  CUdeviceptr mirror;
  if (!rm_range_find(address, &range) || !rm_range_pinned(&range) || rm_shared_translate(&address))
    return CUDA_SUCCESS;
  return rm_memory_mirror(context, range.base, range.bytes, &mirror);
}

static CUresult to_mirror(rm_context *context, uint64_t *word) {
  (void)context;
  rm_shared_translate(word);
  return CUDA_SUCCESS;
}

static CUresult mirror_arguments(rm_context *context, const rm_function *f, const arguments *args) {
  CUresult status = CUDA_SUCCESS;
  if (!args->each) return each_pinned(context, (char *)args->packed, args->bytes, have_mirror);
  for (uint32_t i = 0; i < f->param_count && !status; i++)
    status = each_pinned(context, args->each[i], f->params[i].size, have_mirror);
  return status;
}

/* ---- what the device could never run is refused here and now, as a local driver would */

static bool fits(const CUlaunchConfig *c, const int32_t *a) {
  const unsigned sizes[] = {c->gridDimX,  c->gridDimY,  c->gridDimZ,
                            c->blockDimX, c->blockDimY, c->blockDimZ};
  static const CUdevice_attribute limits[] = {
      CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X,  CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y,
      CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z,  CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X,
      CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z};
  for (int i = 0; i < 6; i++)
    if (!sizes[i] || sizes[i] > (unsigned)a[limits[i]]) return false;
  uint64_t threads = (uint64_t)c->blockDimX * c->blockDimY * c->blockDimZ;
  return threads <= (unsigned)a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK];
}

CUresult rm_launch_attributes(const CUlaunchAttribute *attributes, uint32_t count,
                              uint32_t *flags) {
  for (uint32_t i = 0; i < count; i++) {
    switch ((int)attributes[i].id) {
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT: /* these hold handles */
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
    case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE: return CUDA_ERROR_NOT_SUPPORTED;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
      if (attributes[i].value.cooperative) *flags |= COOPERATIVE;
      break;
    default: break;
    }
  }
  return CUDA_SUCCESS;
}

static CUresult send(const rm_function *f, const CUlaunchConfig *c, const rm_target *stream,
                     const arguments *args, uint32_t flags) {
  uint32_t attributes = (uint32_t)(c->numAttrs * sizeof(CUlaunchAttribute));
  rm_call call;
  CUresult status = rm_call_begin_on(&call, stream->context, RM_CALL_launch,
                                     (uint32_t)sizeof(rm_q_launch) + attributes + args->bytes);
  if (status) return status;
  rm_tls.touched = stream->progress;
  rm_q_launch *q = call.body;
  *q = (rm_q_launch){.function = f->object.id,
                     .stream = stream->id,
                     .grid_x = c->gridDimX,
                     .grid_y = c->gridDimY,
                     .grid_z = c->gridDimZ,
                     .block_x = c->blockDimX,
                     .block_y = c->blockDimY,
                     .block_z = c->blockDimZ,
                     .shared = c->sharedMemBytes,
                     .flags = flags,
                     .param_bytes = args->bytes,
                     .attr_count = c->numAttrs};
  if (attributes) memcpy(q + 1, c->attrs, attributes);
  char *packed = (char *)(q + 1) + attributes;
  pack(f, args, packed);
  if (rm_shared_any()) each_pinned(stream->context, packed, args->bytes, to_mirror);
  /* Whether a cooperative grid fits is known to the device alone, and programs ask at once. */
  status = flags & COOPERATIVE ? rm_call_wait(&call, NULL, 0) : rm_call_post(&call);
  if (rm_shared_any()) rm_shared_written(stream->context, stream->progress);
  return status;
}

/* What the program may ask of this kernel, so that a launch beyond it fails at once. */
static CUresult allowed(const CUlaunchConfig *c, const rm_function *f) {
  uint64_t threads = (uint64_t)c->blockDimX * c->blockDimY * c->blockDimZ;
  if (threads > (uint64_t)f->attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK]) {
    uint64_t registers = threads * (uint64_t)f->attributes[CU_FUNC_ATTRIBUTE_NUM_REGS];
    return registers > REGISTERS ? CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES /* else: its launch bounds */
                                 : CUDA_ERROR_INVALID_VALUE;
  }
  int most = f->attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES];
  int always = SHARED_ALWAYS - f->attributes[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES];
  if (most < always) most = always;
  return most >= 0 && c->sharedMemBytes <= (unsigned)most ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult launch(const CUlaunchConfig *c, CUfunction handle, void **each, void **extra,
                       uint32_t flags) {
  arguments args;
  rm_target stream;
  CUresult status = rm_ready();
  if (status) return status;
  const rm_function *f = rm_object_get(RM_FUNCTION, handle);
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  status = rm_target_of(c->hStream, &stream);
  if (!status) status = arguments_of(f, each, extra, &args);
  if (!status) status = rm_launch_attributes(c->attrs, c->numAttrs, &flags);
  if (status) return status;
  if (!fits(c, rm_session.devices[stream.context->device].attributes))
    return f->module->of_runtime ? RUNTIME_INVALID_CONFIGURATION : CUDA_ERROR_INVALID_VALUE;
  status = allowed(c, f);
  if (!status && rm_pinned_high != UINT64_MAX) status = mirror_arguments(stream.context, f, &args);
  if (!status && rm_shared_any()) status = rm_shared_flush(stream.context, true);
  return status ? status : send(f, c, &stream, &args, flags);
}

CUresult rm_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **params,
                             void **extra) {
  if (!config || (config->numAttrs && !config->attrs) || config->numAttrs > 64)
    return CUDA_ERROR_INVALID_VALUE;
  return launch(config, f, params, extra, 0);
}

CUresult rm_cuLaunchKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz,
                           unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared,
                           CUstream stream, void **params, void **extra) {
  CUlaunchConfig config = {gx, gy, gz, bx, by, bz, shared, stream, NULL, 0};
  return launch(&config, f, params, extra, 0);
}

CUresult rm_cuLaunchCooperativeKernel(CUfunction f, unsigned int gx, unsigned int gy,
                                      unsigned int gz, unsigned int bx, unsigned int by,
                                      unsigned int bz, unsigned int shared, CUstream stream,
                                      void **params) {
  CUlaunchConfig config = {gx, gy, gz, bx, by, bz, shared, stream, NULL, 0};
  return launch(&config, f, params, NULL, COOPERATIVE);
}
