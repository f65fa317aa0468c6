/* progress.c: the clock of work, and where stream handles lead. */
#include "progress.h"
#include "session.h"
#include "thread.h"

#define WIRE_LEGACY 0u
#define WIRE_PER_THREAD 2u
#define WIRE_FIRST 16u /* + id */

static uint64_t clock_of_work; /* written under the ring's lock only */
static uint32_t generations;

void rm_progress_new(rm_progress *progress) {
  *progress = (rm_progress){
      .generation = __atomic_add_fetch(&generations, 1, __ATOMIC_RELAXED),
  };
}

uint64_t rm_progress_now(void) { return clock_of_work; }

void rm_progress_stamp(void) {
  rm_progress *touched = rm_tls.touched;
  if (!touched) return;
  rm_tls.touched = NULL;
  __atomic_store_n(&touched->work, ++clock_of_work, __ATOMIC_RELAXED);
}

void rm_progress_reached(uint64_t *counter, uint64_t stamp) {
  uint64_t seen = __atomic_load_n(counter, __ATOMIC_RELAXED);
  while (seen < stamp && !__atomic_compare_exchange_n(counter, &seen, stamp, true, __ATOMIC_RELEASE,
                                                      __ATOMIC_RELAXED));
}

bool rm_progress_complete(const rm_progress *progress, const rm_context *context) {
  uint64_t work = __atomic_load_n(&progress->work, __ATOMIC_RELAXED);
  return work <= __atomic_load_n(&progress->done, __ATOMIC_ACQUIRE) ||
         (context && work <= __atomic_load_n(&context->synced, __ATOMIC_ACQUIRE));
}

/* A thread's stream in another context than before: what is known of it starts afresh, as "busy";
 * a thread that never had one has sent nothing. */
static rm_progress *per_thread_progress(rm_thread *thread, rm_context *context) {
  if (thread->stream_context != context) {
    rm_progress_new(&thread->stream);
    thread->stream.work = thread->stream_context ? UINT64_MAX : 0;
    thread->stream_context = context;
  }
  return &thread->stream;
}

static CUresult default_stream(bool per_thread, rm_target *target) {
  rm_context *context = rm_context_current();
  rm_thread *thread = rm_thread_self();
  if (!context || !thread) return CUDA_ERROR_INVALID_CONTEXT;
  *target = (rm_target){
      .id = per_thread ? WIRE_PER_THREAD : WIRE_LEGACY,
      .progress = per_thread ? per_thread_progress(thread, context) : &context->legacy,
      .context = context,
  };
  return CUDA_SUCCESS;
}

CUresult rm_target_of(CUstream handle, rm_target *target) {
  if (!handle) return default_stream(rm_tls.per_thread_stream, target);
  if (handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD)
    return default_stream(handle == CU_STREAM_PER_THREAD, target);
  rm_stream *stream = rm_object_get(RM_STREAM, handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  *target = (rm_target){
      .id = WIRE_FIRST + stream->object.id,
      .progress = &stream->progress,
      .context = stream->context,
  };
  return CUDA_SUCCESS;
}

CUresult rm_id_stream(CUstream handle, uint64_t *id) {
  rm_target target;
  CUresult status = rm_ready();
  if (!status) status = rm_target_of(handle, &target);
  if (status) return status;
  *id = target.id;
  rm_tls.touched = target.progress;
  return CUDA_SUCCESS;
}

static uint64_t id_of(enum rm_kind kind, const void *handle) {
  const rm_object *object = rm_object_get(kind, handle);
  return object ? object->id : 0;
}

CUresult rm_id_event(CUevent handle, uint64_t *id) {
  *id = id_of(RM_EVENT, handle);
  return *id ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult id_module(const void *handle, bool library, uint64_t *id) {
  const rm_module *module = rm_object_get(RM_MODULE, handle);
  if (!module || module->library != library) return CUDA_ERROR_INVALID_HANDLE;
  *id = module->object.id;
  return CUDA_SUCCESS;
}

CUresult rm_id_module(CUmodule handle, uint64_t *id) { return id_module(handle, false, id); }
CUresult rm_id_library(CUlibrary handle, uint64_t *id) { return id_module(handle, true, id); }

CUresult rm_id_kernel(const void *handle, uint64_t *id) {
  *id = id_of(RM_FUNCTION, handle);
  return *id ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult rm_id_context(CUcontext handle, uint64_t *id) {
  const rm_context *context = rm_object_get(RM_CONTEXT, handle);
  *id = context ? context->wire : 0;
  return *id ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}
