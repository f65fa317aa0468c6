# Direct copies: where the CPU sees device memory, or the network card reaches it, the channel sends from there and
# receives into it, without staging.
#
# Bytes that go out are those of a point of the stream, so it stands still while they are sent: at a gate, or because
# the issuer sends them itself and issues nothing meanwhile. The memory stays while it is read: see Device.mapped.
#
# Bytes that come in land directly only while the whole session rests: the issuer has executed all before, no job is
# left, no stream has work. Nothing can change that before the payload is there, for only records of copies that
# landed directly too lie between.

cdef extern from "engine/softgpu/visible.h" nogil:
    """
    static const CUuuid *visible_table(void) {
      static const CUuuid id = {SG_VISIBLE_UUID};
      return &id;
    }
    """
    const cydriver.CUuuid *visible_table()


cdef enum:
    REST_LOOKS = 8     # a stream may be at its last bookkeeping
    ISSUER_LOOKS = 64  # where nothing is left but that: the issuer releases a record just after it has answered it


cdef const sg_visible *driver_shows_memory() noexcept nogil:
    """NULL when the driver's memory is out of the CPU's sight."""
    cdef const void *table = NULL
    if <int32_t>cydriver.cuGetExportTable(&table, visible_table()) != SUCCESS:
        return NULL
    return <const sg_visible *>table


cdef bint session_rests(Session *s) noexcept nogil:
    """Asked by the reading thread about the last record that arrived: has all before it taken effect?

    Asked in this order: once the record is alone, the issuer adds nothing to what is looked at after.
    """
    cdef bint alone
    cdef bint quiet
    cdef int look
    for look in range(ISSUER_LOOKS):
        alone = rm_bulk_preceding(s.channel).alone
        pthread_mutex_lock(&s.lane_lock)
        quiet = s.items == s.told
        pthread_mutex_unlock(&s.lane_lock)
        quiet = quiet and jobs_rest(&s.jobs) and s.visible.rest()
        if quiet and alone:
            return True
        if not quiet and look >= REST_LOOKS:
            return False
        sched_yield()
    return False


cdef bint lands_directly(Session *s, const rm_preceding *before, size_t n, uint64_t *where) noexcept nogil:
    """Whether a payload that is coming may go straight to the device memory that its record names."""
    cdef const rm_q_copy_in *q = <const rm_q_copy_in *>(before.record + 1)
    if s.visible == NULL or before.record == NULL or before.to == s.placed_to:
        return False
    if before.record.op != RM_CALL_copy_in or before.record.size < sizeof(rm_record) + sizeof(rm_q_copy_in):
        return False
    where[0] = q.dst
    if q.width * q.rows != n or n <= INLINE_MAX or not in_one_piece(s, q.dst, q.pitch, q.width, q.rows):
        return False
    if before.start != s.placed_to and not session_rests(s):
        return False
    if check_range(s, q.dst, n) != SUCCESS:
        return False
    s.placed_to = before.to
    return True


cdef bint in_one_piece(Session *s, uint64_t at, uint64_t pitch, uint64_t width, uint64_t rows) noexcept nogil:
    """Whether a copy can be sent directly: memory of an arena, without gaps, that the CPU or the card reaches."""
    if device_at(s, at) == NULL or (rows != 1 and pitch != width):
        return False
    return s.visible != NULL or moves_alone(s, at, width * rows)


cdef int32_t send_direct(Session *s, uint64_t token, uint64_t at, uint64_t size, bint tells) noexcept nogil:
    """Sends device memory, which is checked again as it may have been freed since it was at the door.

    It stays mapped until the client has it: a link may take it from where it lies. tells: with DONE at the end.
    """
    cdef Device *device = device_at(s, at)
    cdef int32_t status = SUCCESS
    cdef bint over = False
    cdef uint32_t part
    tell_printed(s)
    pthread_rwlock_rdlock(&device.mapped)
    while size and status == SUCCESS and not over:
        part = <uint32_t>(size if size < RM_BULK_MAX else RM_BULK_MAX)
        status = check_range(s, at, part)
        if status == SUCCESS:
            over = rm_bulk_lend(s.channel, <uint32_t>token, <const void *>at, part, True) != 0
        at += part
        size -= part
    if tells:
        send_done(s, token, status)
    rm_bulk_returned(s.channel)
    pthread_rwlock_unlock(&device.mapped)
    return status


cdef bint out_at_once(Session *s, Target *t, const rm_q_copy_out *q, uint64_t total) noexcept nogil:
    """A copy out that the program waits for, sent by the issuer if the stream gets there in no time."""
    if not stream_reached(s, t):
        return False
    send_direct(s, q.token, q.src, total, True)
    return True
