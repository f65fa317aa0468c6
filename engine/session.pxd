"""What the generated dispatch, the worker and the handlers share: the session, the call at hand, the look-ups.

Status words: a CUresult (>= 0), RM_PENDING (answered later by whoever took the call over) or
RM_BAD_RECORD (the peer broke the protocol: the session ends). Must not know: the loop that feeds it.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from cuda.bindings.cydriver cimport (
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUkernel, CUlibrary, CUmodule, CUstream,
)
from remora.engine.generated.records cimport *

from remora.engine.state cimport Context, Session

ctypedef struct Call:
    const rm_record *record
    const uint8_t *bytes      # raw bytes after the request struct
    uint32_t byte_count
    uint8_t *answer           # answer struct, then raw bytes
    uint32_t answer_room
    uint32_t answer_bytes

# Look-ups of what a client names: 0 or the CUresult that says what is wrong with it.
cdef int32_t find_stream(Session *s, const Call *c, uint64_t wire, CUstream *out) noexcept nogil
cdef int32_t find_event(Session *s, const Call *c, uint64_t id, CUevent *out) noexcept nogil
cdef int32_t find_module(Session *s, const Call *c, uint64_t id, CUmodule *out) noexcept nogil
cdef int32_t find_library(Session *s, const Call *c, uint64_t id, CUlibrary *out) noexcept nogil
cdef int32_t find_kernel(Session *s, const Call *c, uint64_t id, CUfunction *out) noexcept nogil
cdef int32_t find_context(Session *s, const Call *c, uint64_t id, CUcontext *out) noexcept nogil
cdef int32_t find_device(Session *s, const Call *c, int32_t ordinal, CUdevice *out) noexcept nogil
# Whether all of [ptr, ptr + bytes) is device memory of this session; 0 or CUDA_ERROR_INVALID_VALUE.
cdef int32_t check_range(Session *s, uint64_t ptr, uint64_t bytes) noexcept nogil

# Handlers of the internal operations, one file per object kind (*.pxi).
cdef int32_t h_mem_alloc(Session *s, Call *c, const rm_q_mem_alloc *q, rm_a_mem_alloc *a) noexcept nogil
cdef int32_t h_mem_free(Session *s, Call *c, const rm_q_mem_free *q) noexcept nogil
cdef int32_t h_mem_free_async(Session *s, Call *c, const rm_q_mem_free_async *q) noexcept nogil
cdef int32_t h_mem_info(Session *s, Call *c, rm_a_mem_info *a) noexcept nogil
cdef int32_t h_copy_in(Session *s, Call *c, const rm_q_copy_in *q) noexcept nogil
cdef int32_t h_copy_in_pull(Session *s, Call *c, const rm_q_copy_in_pull *q) noexcept nogil
cdef int32_t h_copy_out(Session *s, Call *c, const rm_q_copy_out *q) noexcept nogil
cdef int32_t h_copy_device(Session *s, Call *c, const rm_q_copy_device *q) noexcept nogil
cdef int32_t h_image_data(Session *s, Call *c, const rm_q_image_data *q) noexcept nogil
cdef int32_t h_module_load(Session *s, Call *c, const rm_q_module_load *q, rm_a_module_load *a) noexcept nogil
cdef int32_t h_module_unload(Session *s, Call *c, const rm_q_module_unload *q) noexcept nogil
cdef int32_t h_module_list(Session *s, Call *c, const rm_q_module_list *q, rm_a_module_list *a) noexcept nogil
cdef int32_t h_function_get(Session *s, Call *c, const rm_q_function_get *q, rm_a_function_get *a) noexcept nogil
cdef int32_t h_function_bind(Session *s, Call *c, const rm_q_function_bind *q) noexcept nogil
cdef int32_t h_function_set(Session *s, Call *c, const rm_q_function_set *q) noexcept nogil
cdef int32_t h_global_get(Session *s, Call *c, const rm_q_global_get *q, rm_a_global_get *a) noexcept nogil
cdef int32_t h_managed_get(Session *s, Call *c, const rm_q_managed_get *q, rm_a_managed_get *a) noexcept nogil
cdef int32_t h_occupancy_clusters(
    Session *s, Call *c, const rm_q_occupancy_clusters *q, rm_a_occupancy_clusters *a) noexcept nogil
cdef int32_t h_tensor_map_tiled(
    Session *s, Call *c, const rm_q_tensor_map_tiled *q, rm_a_tensor_map_tiled *a) noexcept nogil
cdef int32_t h_launch(Session *s, Call *c, const rm_q_launch *q) noexcept nogil
cdef int32_t h_stream_create(Session *s, Call *c, const rm_q_stream_create *q) noexcept nogil
cdef int32_t h_stream_destroy(Session *s, Call *c, const rm_q_stream_destroy *q) noexcept nogil
cdef int32_t h_stream_sync(Session *s, Call *c, const rm_q_stream_sync *q) noexcept nogil
cdef int32_t h_event_create(Session *s, Call *c, const rm_q_event_create *q) noexcept nogil
cdef int32_t h_event_destroy(Session *s, Call *c, const rm_q_event_destroy *q) noexcept nogil
cdef int32_t h_event_record(Session *s, Call *c, const rm_q_event_record *q) noexcept nogil
cdef int32_t h_event_sync(Session *s, Call *c, const rm_q_event_sync *q) noexcept nogil
cdef int32_t h_ctx_create(Session *s, Call *c, const rm_q_ctx_create *q) noexcept nogil
cdef int32_t h_ctx_destroy(Session *s, Call *c, const rm_q_ctx_destroy *q) noexcept nogil
cdef int32_t h_ctx_sync(Session *s, Call *c) noexcept nogil
cdef int32_t h_peer_attribute(
    Session *s, Call *c, const rm_q_peer_attribute *q, rm_a_peer_attribute *a) noexcept nogil
cdef int32_t h_peer_enable(Session *s, Call *c, const rm_q_peer_enable *q) noexcept nogil
cdef int32_t h_peer_grant(Session *s, Call *c, const rm_q_peer_grant *q) noexcept nogil
cdef int32_t h_ctx_reset(Session *s, Call *c) noexcept nogil
cdef int32_t h_host_func(Session *s, Call *c, const rm_q_host_func *q) noexcept nogil
cdef int32_t h_mark(Session *s, Call *c, const rm_q_mark *q) noexcept nogil
cdef int32_t h_thread_gone(Session *s, Call *c) noexcept nogil

# For the worker's loop.
cdef class Handle:
    cdef Session *s
    cdef object images

cdef const rm_record *record_next(Session *s, int *error) noexcept nogil
cdef void record_release(Session *s, const rm_record *record) noexcept nogil
cdef int32_t enter(Session *s, uint64_t id, Context **out) noexcept nogil
cdef void defer_error(Session *s, uint16_t ctx, int32_t status) noexcept nogil
cdef void send_reply(Session *s, const rm_record *call, int32_t status, const void *body, uint32_t size) noexcept nogil
cdef void payload_drop(Session *s, const rm_record *record) noexcept nogil
