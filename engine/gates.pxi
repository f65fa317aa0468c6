# Gates: a stream stands still while the client runs a host function, or while data goes through a few pieces.


cdef Gate *gate_of(Session *s, uint16_t ctx, uint8_t kind, uint64_t token) noexcept nogil:
    """A gate that is on no stream yet; NULL: too many of them, or no memory."""
    cdef Gate *gate = gate_make(&s.gates, kind, token)
    if gate == NULL:
        return NULL
    gate.job.run = run_callback if kind == GATE_CALLBACK else run_pull if kind == GATE_PULL else run_large_out
    gate.ctx = ctx
    pthread_mutex_lock(&s.lane_lock)
    gate.seq = s.issued + 1
    pthread_mutex_unlock(&s.lane_lock)
    return gate


cdef int32_t gate_put(Session *s, Target *t, Gate *gate) noexcept nogil:
    """Puts a gate on a stream; on failure it is still the caller's."""
    cdef Context *context = NULL
    cdef int32_t status = enter(s, t.context.id, &context)
    if status == SUCCESS:
        status = <int32_t>cydriver.cuLaunchHostFunc(t.stream, <cydriver.CUhostFn>gate_reached, gate)
    return status


cdef int32_t gate_ask(Session *s, Target *t, Gate *gate, int32_t status) noexcept nogil:
    """Puts a gate on a stream at which the client is asked for something.

    It is asked in any case, once: also when the stream can't be used (status), or fails before it gets there and,
    as CUDA defines it, calls no host functions any more. Else the client would wait for ever.
    """
    cdef uint64_t token = gate.token
    cdef Item *item = item_make(ITEM_GATE, token)
    if status == SUCCESS:
        status = OUT_OF_MEMORY if item == NULL else gate_put(s, t, gate)
    if status != SUCCESS:
        gate_set_loose(gate, status)
    elif lane_add(s, t, item, False) == SUCCESS:
        return SUCCESS
    else:
        gate_give_up(&s.gates, token, UNKNOWN)
    free(item)
    return status


cdef int32_t h_host_func(Session *s, Call *c, const rm_q_host_func *q) noexcept nogil:
    cdef Target t
    cdef int32_t status = target_of(s, c, q.stream, &t)
    cdef Gate *gate = gate_of(s, c.record.ctx, GATE_CALLBACK, q.token)
    if gate == NULL:
        send_callback(s, q.token, OUT_OF_MEMORY)
        return OUT_OF_MEMORY
    if status == SUCCESS:
        gate.ctx = t.context.id
    return gate_ask(s, &t, gate, status)


cdef void run_callback(void *session, Job *job) noexcept nogil:
    """The stream is at a host function: the client runs it, its urgent answer opens the gate.

    What was copied out before must be there when it runs.
    """
    cdef Session *s = <Session *>session
    settle(s, (<Gate *>job).seq)
    rm_expect(s.channel, 1)
    send_callback(s, (<Gate *>job).token, (<Gate *>job).status)


cdef int32_t copier_of(Session *s, uint16_t ctx, CUstream *out) noexcept nogil:
    """The context's stream for copies behind gates; it waits for no other stream."""
    cdef Context *context = NULL
    cdef int32_t status = enter(s, ctx, &context)
    if status != SUCCESS:
        return status
    pthread_mutex_lock(&s.make_lock)
    if context.copier == NULL:
        status = <int32_t>cydriver.cuStreamCreate(&context.copier, 1)  # CU_STREAM_NON_BLOCKING
    pthread_mutex_unlock(&s.make_lock)
    out[0] = context.copier
    return status


cdef void run_pull(void *session, Job *job) noexcept nogil:
    """The stream is at a copy from the client's pinned memory: fetches it, then lets the stream go on."""
    cdef Session *s = <Session *>session
    cdef Gate *gate = <Gate *>job
    cdef Piece *piece = staging_extra(&s.staging)
    cdef CUstream stream = NULL
    cdef uint64_t total = gate.width * gate.rows
    cdef uint64_t offset = 0
    settle(s, gate.seq)
    if gate.status == SUCCESS:
        gate.status = copier_of(s, gate.ctx, &stream) if piece != NULL else OUT_OF_MEMORY
    while offset < total and piece != NULL and pull_piece(s, gate, piece, offset, stream):
        offset += piece.size
    if piece != NULL:
        staging_put(&s.staging, piece)
    if gate.status != SUCCESS and not gate.loose:  # else its record has told the error
        defer_error(s, gate.ctx, gate.status)
    gate_open(gate)


cdef bint pull_piece(Session *s, Gate *gate, Piece *piece, uint64_t offset, CUstream stream) noexcept nogil:
    """One payload; it is fetched even after a failure, since the client waits to be asked. False: session over."""
    cdef uint64_t left = gate.width * gate.rows - offset
    cdef Device *device = NULL
    cdef Piece there
    piece.size = <uint32_t>(left if left < RM_BULK_MAX else RM_BULK_MAX)
    if gate.status == SUCCESS:
        device = pulled_into(s, gate, offset, piece.size)
    if device != NULL:
        there.size = piece.size
        there.bytes = <uint8_t *>(gate.at + offset)
    gate_expect(gate, &there if device != NULL else piece)
    rm_expect(s.channel, 1)
    send_pull(s, gate, offset, piece.size)
    if not gate_wait(gate):
        pulled(device)
        return False
    rm_expect(s.channel, -1)
    if device != NULL:
        gate.status = make_seen(s, device, gate.ctx)
        pulled(device)
    elif gate.status == SUCCESS:
        gate.status = copy_packed(True, gate.at, gate.pitch, gate.width, offset, piece.size, piece.bytes, stream)
    if gate.status == SUCCESS and device == NULL:
        gate.status = <int32_t>cydriver.cuStreamSynchronize(stream)
    return True


cdef Device *pulled_into(Session *s, Gate *gate, uint64_t offset, uint64_t size) noexcept nogil:
    """The device into whose memory a payload goes directly, as its stream stands still: mapped until pulled()."""
    cdef Device *device = device_at(s, gate.at)
    if (gate.rows != 1 and gate.pitch != gate.width) or not in_one_piece(s, gate.at + offset, size, size, 1):
        return NULL
    pthread_rwlock_rdlock(&device.mapped)
    if check_range(s, gate.at + offset, size) == SUCCESS:
        return device
    pthread_rwlock_unlock(&device.mapped)
    return NULL


cdef void pulled(Device *device) noexcept nogil:
    if device != NULL:
        pthread_rwlock_unlock(&device.mapped)


cdef void run_large_out(void *session, Job *job) noexcept nogil:
    """The stream is at a large copy out."""
    settle(<Session *>session, (<Gate *>job).seq)
    move_out(<Session *>session, <Gate *>job)
    gate_open(<Gate *>job)


cdef void move_out(Session *s, Gate *gate) noexcept nogil:
    """Sends device memory that nothing changes meanwhile."""
    if in_one_piece(s, gate.at, gate.pitch, gate.width, gate.rows):
        gate.status = send_direct(s, gate.token, gate.at, gate.width * gate.rows, False)
    else:
        send_staged(s, gate)


cdef void send_staged(Session *s, Gate *gate) noexcept nogil:
    """Through two pieces: one is filled while the one before is sent."""
    cdef Piece *filled = staging_extra(&s.staging)
    cdef Piece *other = staging_extra(&s.staging)
    cdef Piece *swap
    cdef CUstream stream = NULL
    cdef uint64_t offset = 0
    gate.status = copier_of(s, gate.ctx, &stream) if filled != NULL and other != NULL else OUT_OF_MEMORY
    if gate.status == SUCCESS:
        gate.status = out_piece(gate, filled, &offset, stream)
    while gate.status == SUCCESS:
        gate.status = <int32_t>cydriver.cuStreamSynchronize(stream)
        swap = filled
        filled = other
        other = swap
        filled.size = 0
        if gate.status == SUCCESS:
            gate.status = out_piece(gate, filled, &offset, stream)
        if rm_bulk(s.channel, <uint32_t>gate.token, other.bytes, other.size) != 0 or filled.size == 0:
            break
    if stream != NULL:
        cydriver.cuStreamSynchronize(stream)
    if filled != NULL:
        staging_put(&s.staging, filled)
    if other != NULL:
        staging_put(&s.staging, other)


cdef int32_t out_piece(Gate *gate, Piece *piece, uint64_t *offset, CUstream stream) noexcept nogil:
    """Starts to fill a piece with what comes next; its size is 0 at the end."""
    cdef uint64_t left = gate.width * gate.rows - offset[0]
    piece.size = <uint32_t>(left if left < RM_BULK_MAX else RM_BULK_MAX)
    if piece.size == 0:
        return SUCCESS
    offset[0] += piece.size
    return copy_packed(False, gate.at, gate.pitch, gate.width, offset[0] - piece.size, piece.size, piece.bytes, stream)


cdef void defer_error(Session *s, uint16_t ctx, int32_t status) noexcept nogil:
    """Keeps the first failure of a posted call for the next call that waits."""
    cdef Context *context = <Context *>table_get(&s.contexts, ctx)
    if context != NULL and context.deferred == SUCCESS:
        context.deferred = status
