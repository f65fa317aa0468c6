# distutils: sources = shim/generated/ops.c engine/session.c engine/jobs.c
# cython: language_level=3
"""The worker's loop: takes one record after the other from the channel and has it executed.

Calls that may block in the driver go to helper threads with a copy of their record. A call that waits is
answered; a posted one that fails leaves its error to the next call that waits on its context. Must not know:
what any operation does.
"""
import threading

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from remora.engine.generated.dispatch cimport dispatch
from remora.engine.generated.records cimport *
from remora.engine.session cimport (
    Call, Handle, defer_error, enter, payload_drop, record_next, record_release, send_reply,
)
from remora.engine.state cimport Context, Job, Session, jobs_end, jobs_push, session_broken

cdef enum:
    ANSWER_ROOM = 1 << 17  # bytes of an answer: most are a word, a function's layout is the largest


TABLE_HASH = RM_TABLE_HASH  # of the call table that this engine speaks


cdef struct SlowJob:
    Job job
    rm_record record  # the whole record follows in place


cdef void answer(Session *s, Call *c, int32_t status) noexcept nogil:
    if status == RM_BAD_RECORD:
        session_broken(s, b"operation %d of %d bytes: unknown, truncated or malformed", c.record.op, c.record.size)
    elif c.record.flags & RM_F_WAITS:
        send_reply(s, c.record, status, c.answer, c.answer_bytes if status == 0 else 0)
    elif status != 0:
        defer_error(s, c.record.ctx, status)


cdef int32_t execute(Session *s, Call *c) noexcept nogil:
    """A CUresult, RM_PENDING or RM_BAD_RECORD."""
    cdef Context *context = NULL
    cdef int32_t status = enter(s, c.record.ctx, &context) if c.record.ctx else 0
    if status != 0:
        payload_drop(s, c.record)
        return status
    if context != NULL and context.deferred and c.record.flags & RM_F_WAITS:
        status = context.deferred
        context.deferred = 0
        return status
    return dispatch(s, c)


cdef void run(Session *s, const rm_record *record, uint8_t *room) noexcept nogil:
    cdef Call c
    cdef int32_t status
    c.record = record
    c.answer = room
    c.answer_room = ANSWER_ROOM
    c.answer_bytes = 0
    status = execute(s, &c)
    if status != RM_PENDING:
        answer(s, &c, status)


cdef void run_slow(void *session, Job *job) noexcept nogil:
    cdef SlowJob *slow = <SlowJob *>job
    cdef uint8_t *room = <uint8_t *>malloc(ANSWER_ROOM)
    if room != NULL:
        run(<Session *>session, &slow.record, room)
    else:
        send_reply(<Session *>session, &slow.record, 2, NULL, 0)
    free(room)
    free(slow)


cdef void hand_over(Session *s, const rm_record *record) noexcept nogil:
    """Lets a helper execute the record; its space in the ring is free at once."""
    cdef SlowJob *slow = <SlowJob *>malloc(sizeof(SlowJob) - sizeof(rm_record) + record.size)
    if slow == NULL:
        send_reply(s, record, 2, NULL, 0)
        return
    slow.job.run = run_slow
    memcpy(&slow.record, record, record.size)
    jobs_push(&s.jobs, &slow.job)


cdef bint is_slow(const rm_record *record) noexcept nogil:
    return record.op < RM_CALL_END and rm_op_table[record.op].mode == RM_MODE_SLOW


cdef int issue(Session *s, uint8_t *room) noexcept nogil:
    """Until the channel ends or the peer breaks the protocol; the channel's error."""
    cdef const rm_record *record
    cdef int error = 0
    while not s.broken[0]:
        record = record_next(s, &error)
        if record == NULL:
            return error
        s.ledger.slots[s.ledger_slot].calls += 1
        if is_slow(record):
            hand_over(s, record)
        else:
            run(s, record, room)
        record_release(s, record)
    return 0


def serve(Handle handle) -> tuple[int, str]:
    """Serves the session until it ends. Returns the channel's error and one line that says why."""
    cdef uint8_t *room = <uint8_t *>malloc(ANSWER_ROOM)
    reader = threading.Thread(target=handle.read, name="reader", daemon=True)
    if room == NULL:
        raise MemoryError
    reader.start()
    with nogil:
        issue(handle.s, room)
        jobs_end(&handle.s.jobs)
    reason = handle.reason()
    handle.close(200)
    return reason
