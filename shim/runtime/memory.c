/* memory.c: device memory: allocating and freeing asks the engine, which keeps the quota. */
#include <pthread.h>

#include "context.h"
#include "advice.h"
#include "memory.h"
#include "ranges.h"
#include "session.h"
#include "shared.h"
#include "thread.h"
#include "../generated/local.h"
#include "../generated/records.h"

#define FREED_HERE (1u << RM_RANGE_DEVICE | 1u << RM_RANGE_MANAGED)
#define PITCH 512u /* rows of a pitched allocation start on multiples of this */

static CUresult ask(rm_context *context, size_t bytes, CUdeviceptr *out) {
  rm_call call;
  rm_a_mem_alloc answer;
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_mem_alloc, sizeof(rm_q_mem_alloc));
  if (status) return status;
  ((rm_q_mem_alloc *)call.body)->bytes = bytes;
  status = rm_call_wait(&call, &answer, sizeof answer);
  if (!status) *out = answer.ptr;
  return status;
}

/* Of the kind, flags, context and owner that `as` says. */
static CUresult take(const rm_range *as, CUdeviceptr *out) {
  rm_range range = *as;
  CUresult status = ask(as->context, as->bytes, out);
  range.base = *out;
  return status || rm_range_add(&range) ? status : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult rm_memory_alloc(rm_context *context, size_t bytes, void *owner, CUdeviceptr *out) {
  if (!out || !bytes) return CUDA_ERROR_INVALID_VALUE;
  return take(
      &(rm_range){.bytes = bytes, .kind = RM_RANGE_DEVICE, .context = context, .owner = owner},
      out);
}

CUresult rm_memory_free(rm_context *context, CUdeviceptr address) {
  rm_call call;
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_mem_free, sizeof(rm_q_mem_free));
  if (status) return status;
  ((rm_q_mem_free *)call.body)->ptr = address;
  return rm_call_wait(&call, NULL, 0);
}

void rm_memory_forget(rm_context *context) {
  rm_shared_forget(context);
  rm_range_forget(context);
}

/* ---- shared with the host */

static CUresult share(const rm_range *as, uint64_t host, CUdeviceptr address) {
  CUresult status = rm_shared_add(as->context, host ? host : address, address, as->bytes,
                                  as->kind != RM_RANGE_MANAGED);
  if (!status) return CUDA_SUCCESS;
  rm_range_remove(address, 1u << as->kind, &(rm_range){0});
  rm_memory_free(as->context, address);
  return status;
}

CUresult rm_memory_share(const rm_range *as, CUdeviceptr *out) {
  CUdeviceptr address;
  CUresult status = take(as, &address);
  if (!status) status = share(as, 0, address);
  if (!status) *out = address;
  return status;
}

static CUresult mirror(rm_context *context, uint64_t host, size_t bytes, CUdeviceptr *out) {
  rm_range as = {.bytes = bytes, .kind = RM_RANGE_DEVICE, .context = context};
  CUresult status = take(&as, out);
  return status ? status : share(&as, host, *out);
}

/* Threads that pass the same memory for the first time make one mirror. */
CUresult rm_memory_mirror(rm_context *context, uint64_t host, size_t bytes, CUdeviceptr *out) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  uint64_t device = host;
  pthread_mutex_lock(&lock);
  bool there = rm_shared_translate(&device);
  CUresult status = there ? CUDA_SUCCESS : mirror(context, host, bytes, out);
  pthread_mutex_unlock(&lock);
  if (there) *out = device;
  return status;
}

CUresult rm_memory_unshare(uint64_t host) {
  rm_shared gone;
  uint64_t device = host;
  if (!rm_shared_any() || !rm_shared_translate(&device)) return CUDA_SUCCESS;
  rm_range range;
  CUresult status =
      rm_range_find(host, &range) ? rm_cuCtxSynchronize((CUcontext)range.context) : CUDA_SUCCESS;
  if (!rm_shared_remove(host, &gone)) return status;
  rm_range_remove(gone.device, 1u << RM_RANGE_DEVICE, &range);
  CUresult freed = rm_memory_free(gone.context, gone.device);
  return status ? status : freed;
}

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
  if (!rm_range_remove(address, FREED_HERE, &range)) return CUDA_ERROR_INVALID_VALUE;
  /* Before the address can be given out anew. */
  if (range.kind == RM_RANGE_MANAGED) rm_shared_remove(address, &(rm_shared){0});
  status = rm_memory_free(range.context, address);
  if (status) {
    rm_range_add(&range); /* an earlier call's failure came instead: it can be freed again */
    return status;
  }
  rm_pool_returned(&range);
  return rm_shared_any() ? rm_shared_settle(range.context, false) : CUDA_SUCCESS;
}

CUresult rm_cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned int flags) {
  rm_context *context;
  CUresult status = current(&context);
  if (status) return status;
  if (!out || !bytes || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
    return CUDA_ERROR_INVALID_VALUE;
  rm_range as = {.bytes = bytes, .kind = RM_RANGE_MANAGED, .flags = flags, .context = context};
  CUresult made = rm_memory_share(&as, out);
  if (!made) advice_forget(*out, bytes);
  return made;
}

/* ---- hints: nothing moves early, as everything moves before launches and after waits */

static CUresult managed(CUdeviceptr address, size_t bytes) {
  rm_range range;
  CUresult status = rm_ready();
  if (status) return status;
  bool known = rm_range_find(address, &range) && range.kind == RM_RANGE_MANAGED &&
               bytes <= range.bytes - (address - range.base);
  return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUmemLocation location,
                               unsigned int flags, CUstream handle) {
  rm_target stream;
  CUresult status = managed(address, bytes);
  if (!status && flags) status = CUDA_ERROR_INVALID_VALUE;
  if (!status) status = rm_target_of(handle, &stream);
  return status ? status : advice_prefetched(address, bytes, location);
}

CUresult rm_cuMemAdvise(CUdeviceptr address, size_t bytes, CUmem_advise advice,
                        CUmemLocation location) {
  CUresult status = managed(address, bytes);
  return status ? status : advice_set(address, bytes, advice, location);
}

CUresult rm_cuMemPrefetchBatchAsync(CUdeviceptr *addresses, size_t *bytes, size_t count,
                                    CUmemLocation *locations, size_t *firsts, size_t places,
                                    unsigned long long flags, CUstream handle) {
  if (!addresses || !bytes || !locations || !firsts || !count || !places || firsts[0] || flags)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult status = CUDA_SUCCESS;
  for (size_t i = 0, place = 0; i < count && !status; i++) {
    if (place + 1 < places && firsts[place + 1] == i) place++;
    status = rm_cuMemPrefetchAsync(addresses[i], bytes[i], locations[place], 0, handle);
  }
  return status;
}

CUresult rm_cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute attribute,
                                   CUdeviceptr address, size_t bytes) {
  CUresult status = managed(address, bytes);
  return status ? status : advice_get(data, size, attribute, address, bytes);
}

CUresult rm_cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes,
                                    size_t count, CUdeviceptr address, size_t bytes) {
  if (!data || !sizes || !attributes || !count) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = CUDA_SUCCESS;
  for (size_t i = 0; i < count && !status; i++)
    status = rm_cuMemRangeGetAttribute(data[i], sizes[i], attributes[i], address, bytes);
  return status;
}

/* Memory attached to the host or to one stream may be used while other streams' kernels run. */
CUresult rm_cuStreamAttachMemAsync(CUstream handle, CUdeviceptr address, size_t bytes,
                                   unsigned int flags) {
  rm_target stream;
  CUresult status = managed(address, bytes);
  if (!status) status = rm_target_of(handle, &stream);
  if (!status && flags != CU_MEM_ATTACH_GLOBAL) rm_shared_any_time(address);
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
