# Streams: the client's, the legacy default one of each context, and one per (context, thread).

cdef struct Target:
    CUstream stream
    Lane *lane
    Context *context
    uint64_t *passed  # newest fence that the stream waited for


cdef int32_t target_of(Session *s, const Call *c, uint64_t wire, Target *t) noexcept nogil:
    """Where to give work to: the stream, which from here on waits for the newest fence."""
    cdef int32_t status = target_at(s, c, wire, t)
    return fence_pass(s, t) if status == SUCCESS else status


cdef int32_t target_at(Session *s, const Call *c, uint64_t wire, Target *t) noexcept nogil:
    """What a stream on the wire means for this call's context and thread."""
    cdef Stream *stream
    cdef int32_t status = context_get(s, c.record.ctx, &t.context)
    if status != SUCCESS:
        return status
    if wire == 0:
        t.stream = NULL
        t.lane = t.context.legacy
        t.passed = &t.context.fences_passed
        return SUCCESS
    stream = thread_stream(s, t.context, c.record.thread) if wire == 2 else named_stream(s, wire)
    if stream == NULL:
        return OUT_OF_MEMORY if wire == 2 else INVALID_HANDLE
    t.stream = stream.handle
    t.lane = stream.lane
    t.passed = &stream.fences_passed
    return context_get(s, stream.ctx, &t.context)


cdef Stream *named_stream(Session *s, uint64_t wire) noexcept nogil:
    return <Stream *>table_get(&s.streams, wire - 16) if wire > 16 else NULL


cdef Stream *thread_stream(Session *s, Context *context, uint16_t thread) noexcept nogil:
    """The per-thread default stream: an ordinary stream that waits for the legacy one, as CUDA defines it."""
    cdef Stream *stream = <Stream *>table_get(&context.threads, thread)
    if stream != NULL or thread == 0:
        return stream
    if stream_make(s, context.id, 0, 0, &stream) != SUCCESS:
        return NULL
    if table_put(&context.threads, thread, stream):
        return stream
    stream_drop(s, stream)
    return <Stream *>table_get(&context.threads, thread)


cdef int32_t stream_make(Session *s, uint16_t ctx, uint32_t flags, int32_t priority, Stream **out) noexcept nogil:
    cdef Stream *stream = <Stream *>calloc(1, sizeof(Stream))
    cdef int32_t status = OUT_OF_MEMORY
    if stream == NULL:
        return status
    stream.ctx = ctx
    status = <int32_t>cydriver.cuStreamCreateWithPriority(&stream.handle, flags, priority)
    if status == SUCCESS:
        stream.lane = lane_make(s, ctx, stream.handle)
        if stream.lane != NULL:
            out[0] = stream
            return status
        cydriver.cuStreamDestroy(stream.handle)
        status = OUT_OF_MEMORY
    free(stream)
    return status


cdef void stream_drop(Session *s, Stream *stream) noexcept nogil:
    cdef Context *context = <Context *>table_get(&s.contexts, stream.ctx)
    if context != NULL and <int32_t>cydriver.cuStreamQuery(stream.handle) != SUCCESS:
        context.stray = True
    lane_drop(s, stream.lane)
    cydriver.cuStreamDestroy(stream.handle)
    free(stream)


cdef int32_t find_stream(Session *s, const Call *c, uint64_t wire, CUstream *out) noexcept nogil:
    cdef Target t
    cdef int32_t status = target_of(s, c, wire, &t)
    if status == SUCCESS:
        out[0] = t.stream
    return status


cdef int32_t h_stream_create(Session *s, Call *c, const rm_q_stream_create *q) noexcept nogil:
    cdef Stream *stream = NULL
    cdef int32_t status
    if c.record.ctx == 0:
        return INVALID_CONTEXT
    status = stream_make(s, c.record.ctx, q.flags, q.priority, &stream)
    if status == SUCCESS and not table_put(&s.streams, q.stream, stream):
        stream_drop(s, stream)
        status = INVALID_HANDLE
    return status


cdef int32_t h_stream_destroy(Session *s, Call *c, const rm_q_stream_destroy *q) noexcept nogil:
    cdef Stream *stream = <Stream *>table_take(&s.streams, q.stream)
    if stream == NULL:
        return INVALID_HANDLE
    stream_drop(s, stream)
    return SUCCESS


cdef int32_t h_stream_sync(Session *s, Call *c, const rm_q_stream_sync *q) noexcept nogil:
    """Answers at once when there is nothing to wait for, else when the stream's lane gets there."""
    cdef Target t
    cdef Item *item
    cdef int32_t status = target_at(s, c, q.stream, &t)
    if status != SUCCESS:
        return status
    if lane_rests(s, &t):
        return SUCCESS
    item = item_make(ITEM_SYNC, 0)
    if item == NULL:
        return OUT_OF_MEMORY
    item.call = c.record[0]
    status = lane_add(s, &t, item, False)
    if status == SUCCESS:
        return RM_PENDING
    free(item)
    return status


cdef int32_t h_mark(Session *s, Call *c, const rm_q_mark *q) noexcept nogil:
    """DONE when the stream (or event) is reached; always sent, with the status when it can't be."""
    cdef Target t
    cdef Event *event = <Event *>table_get(&s.events, q.event)
    cdef int32_t status
    if q.event:
        status = wait_later(s, c.record, event, q.token) if event != NULL else INVALID_HANDLE
    else:
        status = target_at(s, c, q.stream, &t)
        if status == SUCCESS and not lane_idle(s, &t):
            status = mark_later(s, &t, q.token)
    if status != RM_PENDING:
        send_done(s, q.token, status)
    return RM_PENDING


cdef int32_t mark_later(Session *s, Target *t, uint64_t token) noexcept nogil:
    cdef Item *item = item_make(ITEM_MARK, token)
    cdef int32_t status
    if item == NULL:
        return OUT_OF_MEMORY
    status = lane_add(s, t, item, False)
    if status == SUCCESS:
        return RM_PENDING
    free(item)
    return status
