# Direct sending: where the CPU sees device memory, a copy out is sent from there, without staging.
#
# The bytes are those of a point of the stream, so it stands still while they are sent: at a gate, or because
# the issuer sends them itself and issues nothing meanwhile. The memory stays while it is read: see Device.mapped.

cdef extern from "engine/softgpu/visible.h" nogil:
    """
    static const CUuuid *visible_table(void) {
      static const CUuuid id = {SG_VISIBLE_UUID};
      return &id;
    }
    """
    const cydriver.CUuuid *visible_table()


cdef bint driver_shows_memory() noexcept nogil:
    cdef const void *table = NULL
    return <int32_t>cydriver.cuGetExportTable(&table, visible_table()) == SUCCESS and table != NULL


cdef bint in_one_piece(Session *s, uint64_t at, uint64_t pitch, uint64_t width, uint64_t rows) noexcept nogil:
    """Whether a copy can be sent directly: seen memory of an arena, without gaps."""
    return s.sees_devices and (rows == 1 or pitch == width) and device_at(s, at) != NULL


cdef int32_t send_direct(Session *s, uint64_t token, uint64_t at, uint64_t size) noexcept nogil:
    """Sends device memory, which is checked again as it may have been freed since it was at the door."""
    cdef Device *device = device_at(s, at)
    cdef int32_t status = SUCCESS
    cdef bint over = False
    cdef uint32_t part
    while size and status == SUCCESS and not over:
        part = <uint32_t>(size if size < RM_BULK_MAX else RM_BULK_MAX)
        pthread_rwlock_rdlock(&device.mapped)
        status = check_range(s, at, part)
        if status == SUCCESS:
            over = rm_bulk(s.channel, <uint32_t>token, <const void *>at, part) != 0
        pthread_rwlock_unlock(&device.mapped)
        at += part
        size -= part
    return status


cdef bint out_at_once(Session *s, Target *t, const rm_q_copy_out *q, uint64_t total) noexcept nogil:
    """A copy out that the program waits for, sent by the issuer if the stream gets there in no time."""
    if not stream_reached(s, t):
        return False
    send_done(s, q.token, send_direct(s, q.token, q.src, total))
    return True
