# What kernels print, and what the driver says: told to the client before the reply that it waits for, as a driver prints at a wait.

cdef extern from "printed.h" nogil:
    void printed_begin()
    void printed_expect()
    bint printed_waiting()
    void printed_lock()
    void printed_unlock()
    uint32_t printed_take(void *to, uint32_t room, int *error)
    void printed_error(const char *text, size_t bytes)

cdef enum:
    PRINT_BYTES = 4096  # of one record


def keep_output() -> None:
    """This process's standard output is the kernels' from now on. Before the first session."""
    printed_begin()


cdef void tell_printed(Session *s) noexcept nogil:
    if printed_waiting():
        printed_lock()
        while tell_some(s):
            pass
        printed_unlock()


cdef bint tell_some(Session *s) noexcept nogil:
    cdef char text[PRINT_BYTES]
    cdef int error = 0
    cdef uint32_t n = printed_take(text, PRINT_BYTES, &error)
    cdef rm_record *record
    if n == 0:
        return False
    record = rm_begin(s.channel, <uint32_t>sizeof(rm_record) + n)
    if record == NULL:
        return False
    record.op = RM_OP_PRINT
    record.flags = RM_F_ERROR if error else 0
    memcpy(record + 1, text, n)
    rm_commit(s.channel)
    return True
