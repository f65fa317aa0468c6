# Events of the client.


cdef int32_t find_event(Session *s, const Call *c, uint64_t id, CUevent *out) noexcept nogil:
    cdef Event *event = <Event *>table_get(&s.events, id)
    if event == NULL:
        return INVALID_HANDLE
    out[0] = event.handle
    return SUCCESS


cdef void event_drop(Session *s, Event *event) noexcept nogil:
    """Destroys an event once no helper waits for it any more."""
    cdef bint waited
    pthread_mutex_lock(&s.lane_lock)
    event.gone = True
    waited = event.users > 0
    pthread_mutex_unlock(&s.lane_lock)
    if not waited:
        cydriver.cuEventDestroy(event.handle)
        free(event)


cdef void event_hold(Session *s, Event *event) noexcept nogil:
    pthread_mutex_lock(&s.lane_lock)
    event.users += 1
    pthread_mutex_unlock(&s.lane_lock)


cdef void event_release(Session *s, Event *event) noexcept nogil:
    cdef bint last
    pthread_mutex_lock(&s.lane_lock)
    event.users -= 1
    last = event.gone and event.users == 0
    pthread_mutex_unlock(&s.lane_lock)
    if last:
        event_drop(s, event)


cdef int32_t h_event_create(Session *s, Call *c, const rm_q_event_create *q) noexcept nogil:
    """Waits on it sleep in the driver: the flag of a spinning wait is the client's business, on its own side."""
    cdef Event *event = <Event *>calloc(1, sizeof(Event))
    cdef int32_t status = OUT_OF_MEMORY
    if event == NULL:
        return status
    event.ctx = c.record.ctx
    status = <int32_t>cydriver.cuEventCreate(&event.handle, <unsigned int>q.flags | 1)
    if status == SUCCESS and not table_put(&s.events, q.event, event):
        event_drop(s, event)
        return INVALID_HANDLE
    if status != SUCCESS:
        free(event)
    return status


cdef int32_t h_event_destroy(Session *s, Call *c, const rm_q_event_destroy *q) noexcept nogil:
    cdef Event *event = <Event *>table_take(&s.events, q.event)
    if event == NULL:
        return INVALID_HANDLE
    event_drop(s, event)
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
    cdef Event *event = <Event *>table_get(&s.events, q.event)
    cdef int32_t status
    if event == NULL:
        return INVALID_HANDLE
    status = <int32_t>cydriver.cuEventQuery(event.handle)
    if status == NOT_READY or (status == SUCCESS and s.outs):
        return wait_later(s, c.record, event, 0)
    return status
