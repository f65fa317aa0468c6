# The fence: a synchronous copy to the device is posted, so the program goes on before its stream has got there.
#
# Work in streams that the copy's own stream doesn't hold up (non-blocking ones, other contexts' and threads') must not
# overtake it: each waits for the fence once. A stream passes the older fences before it raises one, so the newest stands
# for all. Issuer only.


cdef int32_t fence_raise(Session *s, Target *t) noexcept nogil:
    """All streams' later work waits for what this stream has been given; nothing to do if it has got there."""
    cdef int32_t status = SUCCESS
    if <int32_t>cydriver.cuStreamQuery(t.stream) != NOT_READY:
        return SUCCESS
    if t.context.fence == NULL:
        status = <int32_t>cydriver.cuEventCreate(&t.context.fence, 2)  # CU_EVENT_DISABLE_TIMING
    if status == SUCCESS:
        status = <int32_t>cydriver.cuEventRecord(t.context.fence, t.stream)
    if status == SUCCESS:
        s.fences += 1
        s.fence_ctx = t.context.id
        t.passed[0] = s.fences
    return status


cdef int32_t fence_pass(Session *s, Target *t) noexcept nogil:
    """Before work is given to a stream: what programs believe to be on the device comes first."""
    cdef Context *raised
    if t.passed[0] == s.fences:
        return SUCCESS
    t.passed[0] = s.fences
    raised = <Context *>table_get(&s.contexts, s.fence_ctx)
    if raised == NULL or raised.fence == NULL:
        return SUCCESS  # it went with its context, and so did the copy
    return <int32_t>cydriver.cuStreamWaitEvent(t.stream, raised.fence, 0)
