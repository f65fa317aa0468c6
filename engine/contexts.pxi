# Contexts: primary ones are retained at first sight, others are made by the client.

cdef enum:
    CTX_BLOCKING_SYNC = 4       # waits for the device sleep: many sessions share the engine's CPUs
    CTX_LMEM_RESIZE_TO_MAX = 16


cdef int32_t context_get(Session *s, uint64_t id, Context **out) noexcept nogil:
    """The context of an id; a device's primary one is retained when it is first named."""
    out[0] = <Context *>table_get(&s.contexts, id)
    if out[0] != NULL:
        return SUCCESS
    if id == 0 or id > s.device_count:
        return INVALID_CONTEXT
    return primary_make(s, <uint32_t>id - 1, out)


cdef int32_t primary_make(Session *s, uint32_t device, Context **out) noexcept nogil:
    cdef int32_t status = SUCCESS
    cdef CUcontext handle = NULL
    pthread_mutex_lock(&s.make_lock)
    out[0] = <Context *>table_get(&s.contexts, device + 1)
    if out[0] == NULL:
        status = <int32_t>cydriver.cuDevicePrimaryCtxRetain(&handle, s.devices[device].handle)
        if status == SUCCESS:
            status = context_add(s, device + 1, device, handle, out)
    pthread_mutex_unlock(&s.make_lock)
    return status


cdef int32_t context_add(Session *s, uint64_t id, uint32_t device, CUcontext handle, Context **out) noexcept nogil:
    """Called with make_lock held."""
    cdef Context *made = <Context *>calloc(1, sizeof(Context))
    if made == NULL:
        return OUT_OF_MEMORY
    made.handle = handle
    made.device = device
    made.id = <uint16_t>id
    s.serials += 1
    made.serial = s.serials
    made.legacy = lane_make(s, made.id, NULL)
    if made.legacy == NULL or not table_put(&s.contexts, id, made):
        free(made)
        return OUT_OF_MEMORY
    out[0] = made
    return SUCCESS


cdef int32_t enter(Session *s, uint64_t id, Context **out) noexcept nogil:
    """Makes a context current on this thread."""
    cdef int32_t status = context_get(s, id, out)
    if status == SUCCESS and current_serial()[0] != out[0].serial:
        status = <int32_t>cydriver.cuCtxSetCurrent(out[0].handle)
        current_serial()[0] = out[0].serial if status == SUCCESS else 0
    return status


cdef int32_t find_context(Session *s, const Call *c, uint64_t id, CUcontext *out) noexcept nogil:
    cdef Context *context = NULL
    cdef int32_t status = context_get(s, id, &context)
    if status == SUCCESS:
        out[0] = context.handle
    return status


cdef int32_t find_device(Session *s, const Call *c, int32_t ordinal, CUdevice *out) noexcept nogil:
    if ordinal < 0 or <uint32_t>ordinal >= s.device_count:
        return 101  # CUDA_ERROR_INVALID_DEVICE
    out[0] = s.devices[ordinal].handle
    return SUCCESS


# The oldest form of cuCtxCreate, which every driver has; cydriver's own follows the newest header.
ctypedef int32_t (*CreateContext)(CUcontext *, unsigned int, CUdevice) noexcept nogil


cdef int32_t context_new(CUdevice device, uint32_t flags, CUcontext *out) noexcept nogil:
    """A context that is current nowhere. Of the client's flags only those count that change what kernels do."""
    cdef CUcontext current = NULL
    cdef void *create = NULL
    cdef int32_t status = <int32_t>cydriver.cuGetProcAddress(b"cuCtxCreate", &create, 3020, 0, NULL)
    if status == SUCCESS and create == NULL:
        status = NOT_SUPPORTED
    if status == SUCCESS:
        status = (<CreateContext>create)(out, (flags & CTX_LMEM_RESIZE_TO_MAX) | CTX_BLOCKING_SYNC, device)
    current_serial()[0] = 0
    if status == SUCCESS:
        cydriver.cuCtxPopCurrent(&current)
    return status


cdef int32_t h_ctx_create(Session *s, Call *c, const rm_q_ctx_create *q) noexcept nogil:
    cdef CUcontext handle = NULL
    cdef Context *made = NULL
    cdef int32_t status
    if q.context < FIRST_MADE_CONTEXT or q.context > 0xffff or table_get(&s.contexts, q.context) != NULL:
        return INVALID_VALUE
    if q.device >= s.device_count:
        return 101  # CUDA_ERROR_INVALID_DEVICE
    status = context_new(s.devices[q.device].handle, q.flags, &handle)
    if status == SUCCESS:
        pthread_mutex_lock(&s.make_lock)
        status = context_add(s, q.context, q.device, handle, &made)
        pthread_mutex_unlock(&s.make_lock)
    return status


cdef int32_t h_ctx_destroy(Session *s, Call *c, const rm_q_ctx_destroy *q) noexcept nogil:
    cdef Context *context
    cdef int32_t status
    if q.context < FIRST_MADE_CONTEXT:
        return INVALID_CONTEXT
    context = <Context *>table_take(&s.contexts, q.context)
    if context == NULL:
        return INVALID_CONTEXT
    drop_objects(s, context)
    lanes_leave(s, context.id)
    current_serial()[0] = 0
    status = <int32_t>cydriver.cuCtxDestroy(context.handle)
    free_all(s, context)
    return status  # the struct stays: a helper may still be draining a lane of it


cdef void drop_objects(Session *s, Context *context) noexcept nogil:
    """Forgets the streams and events of a context that goes; the driver frees them with it."""
    cdef uint64_t id = table_next(&s.streams, 1)
    while id < TABLE_LIMIT:
        if (<Stream *>table_get(&s.streams, id)).ctx == context.id:
            stream_drop(s, <Stream *>table_take(&s.streams, id))
        id = table_next(&s.streams, id + 1)
    id = table_next(&s.events, 1)
    while id < TABLE_LIMIT:
        if (<Event *>table_get(&s.events, id)).ctx == context.id:
            event_drop(s, <Event *>table_take(&s.events, id))
        id = table_next(&s.events, id + 1)


cdef int32_t h_ctx_reset(Session *s, Call *c) noexcept nogil:
    """Frees what the program made in a primary context. The context itself stays: it holds the engine's own."""
    cdef Context *context = NULL
    cdef uint64_t at
    cdef int32_t status = enter(s, c.record.ctx, &context)
    if status != SUCCESS:
        return status
    status = <int32_t>cydriver.cuCtxSynchronize()
    drop_objects(s, context)
    drop_modules(s, context)
    free_all(s, context)
    context.deferred = SUCCESS
    return status


cdef int32_t h_thread_gone(Session *s, Call *c) noexcept nogil:
    cdef uint64_t id = table_next(&s.contexts, 1)
    cdef Stream *stream
    while id <= 0xffff:
        stream = <Stream *>table_take(&(<Context *>table_get(&s.contexts, id)).threads, c.record.thread)
        if stream != NULL:
            stream_drop(s, stream)
        id = table_next(&s.contexts, id + 1)
    return SUCCESS


cdef struct SyncJob:
    Job job
    rm_record call
    uint64_t seq
    uint64_t token      # of a mark; 0 = a waiting call
    Event *event        # NULL: the whole context


cdef int32_t wait_later(Session *s, const rm_record *call, Event *event, uint64_t token) noexcept nogil:
    """Hands a wait for an event (or for all of a context) to a helper."""
    cdef SyncJob *job = <SyncJob *>calloc(1, sizeof(SyncJob))
    if job == NULL:
        return OUT_OF_MEMORY
    job.job.run = run_sync
    job.call = call[0]
    job.event = event
    job.token = token
    if event != NULL:
        event_hold(s, event)
    pthread_mutex_lock(&s.lane_lock)
    job.seq = s.issued + 1
    pthread_mutex_unlock(&s.lane_lock)
    jobs_push(&s.jobs, &job.job)
    return RM_PENDING


cdef void run_sync(void *session, Job *queued) noexcept nogil:
    cdef Session *s = <Session *>session
    cdef SyncJob *job = <SyncJob *>queued
    cdef Context *context = NULL
    cdef int32_t status = enter(s, job.call.ctx, &context)
    if status == SUCCESS:
        if job.event != NULL:
            status = <int32_t>cydriver.cuEventSynchronize(job.event.handle)
        else:
            status = <int32_t>cydriver.cuCtxSynchronize()
    if job.event != NULL:
        event_release(s, job.event)
    settle(s, job.seq)
    jobs_told(&s.jobs)
    if job.token:
        send_done(s, job.token, status)
    else:
        send_reply(s, &job.call, status, NULL, 0)
    free(job)


cdef int32_t h_ctx_sync(Session *s, Call *c) noexcept nogil:
    """Answers at once when there is nothing to wait for, else when a helper has waited."""
    cdef Context *context = NULL
    cdef int32_t status = enter(s, c.record.ctx, &context)
    if status == SUCCESS and not context_rests(s, context):
        status = wait_later(s, c.record, NULL, 0)
    return status
