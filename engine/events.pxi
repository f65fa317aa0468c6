# Events of the client.


cdef int32_t find_event(Session *s, const Call *c, uint64_t id, CUevent *out) noexcept nogil:
    cdef Event *event = <Event *>table_get(&s.events, id)
    if event == NULL:
        return INVALID_HANDLE
    out[0] = event.handle
    return SUCCESS


cdef void event_drop(Event *event) noexcept nogil:
    cydriver.cuEventDestroy(event.handle)
    free(event)


cdef int32_t h_event_create(Session *s, Call *c, const rm_q_event_create *q) noexcept nogil:
    """Waits on it sleep in the driver: the flag of a spinning wait is the client's business, on its own side."""
    cdef Event *event = <Event *>calloc(1, sizeof(Event))
    cdef int32_t status = OUT_OF_MEMORY
    if event == NULL:
        return status
    event.ctx = c.record.ctx
    status = <int32_t>cydriver.cuEventCreate(&event.handle, <unsigned int>q.flags | 1)
    if status == SUCCESS and not table_put(&s.events, q.event, event):
        event_drop(event)
        return INVALID_HANDLE
    if status != SUCCESS:
        free(event)
    return status


cdef int32_t h_event_destroy(Session *s, Call *c, const rm_q_event_destroy *q) noexcept nogil:
    cdef Event *event = <Event *>table_take(&s.events, q.event)
    if event == NULL:
        return INVALID_HANDLE
    event_drop(event)
    return SUCCESS


cdef int32_t h_event_record(Session *s, Call *c, const rm_q_event_record *q) noexcept nogil:
    cdef Target t
    cdef CUevent event = NULL
    cdef int32_t status = find_event(s, c, q.event, &event)
    if status == SUCCESS:
        status = target_of(s, c, q.stream, &t)
    if status != SUCCESS:
        return status
    if q.flags:
        return <int32_t>cydriver.cuEventRecordWithFlags(event, t.stream, <unsigned int>q.flags)
    return <int32_t>cydriver.cuEventRecord(event, t.stream)


cdef int32_t h_event_sync(Session *s, Call *c, const rm_q_event_sync *q) noexcept nogil:
    cdef CUevent event = NULL
    cdef int32_t status = find_event(s, c, q.event, &event)
    if status != SUCCESS:
        return status
    status = <int32_t>cydriver.cuEventQuery(event)
    if status == NOT_READY or (status == SUCCESS and s.outs):
        return wait_later(s, c.record, event, 0)
    return status
