# Copies between the client's memory and the device: payloads pass through staging, in stream order.

cdef enum:
    INLINE_MAX = 32768      # payloads up to this lie in the record
    OUT_PIECES = 8          # copies out up to so many pieces go straight to staging; larger ones pass a gate
    OUT_WAITS = 1           # copy_out.flags: the program waits for DONE


cdef bint extent_of(uint64_t pitch, uint64_t width, uint64_t rows, uint64_t *total, uint64_t *extent) noexcept nogil:
    """Packed bytes and spanned device bytes of a copy; false when the numbers make no sense."""
    if width == 0 or rows == 0 or width > (<uint64_t>1 << 48) or rows > (<uint64_t>1 << 48):
        return False
    if rows > 1 and (pitch < width or pitch > (<uint64_t>1 << 48) or rows > (<uint64_t>1 << 48) // pitch):
        return False
    if rows > (<uint64_t>1 << 48) // width:
        return False
    total[0] = width * rows
    extent[0] = (rows - 1) * pitch + width
    return True


cdef int32_t copy_rows(bint to_device, uint64_t at, uint64_t pitch, uint64_t width, uint64_t rows,
                       uint8_t *host, CUstream stream) noexcept nogil:
    cdef cydriver.CUDA_MEMCPY2D copy
    if rows == 1 or pitch == width:
        if to_device:
            return <int32_t>cydriver.cuMemcpyHtoDAsync(<CUdeviceptr>at, host, width * rows, stream)
        return <int32_t>cydriver.cuMemcpyDtoHAsync(host, <CUdeviceptr>at, width * rows, stream)
    memset(&copy, 0, sizeof(copy))
    copy.WidthInBytes = width
    copy.Height = rows
    copy.srcPitch = width if to_device else pitch
    copy.dstPitch = pitch if to_device else width
    if to_device:
        copy.srcMemoryType = cydriver.CUmemorytype_enum.CU_MEMORYTYPE_HOST
        copy.srcHost = host
        copy.dstMemoryType = cydriver.CUmemorytype_enum.CU_MEMORYTYPE_DEVICE
        copy.dstDevice = <CUdeviceptr>at
    else:
        copy.srcMemoryType = cydriver.CUmemorytype_enum.CU_MEMORYTYPE_DEVICE
        copy.srcDevice = <CUdeviceptr>at
        copy.dstMemoryType = cydriver.CUmemorytype_enum.CU_MEMORYTYPE_HOST
        copy.dstHost = host
    return <int32_t>cydriver.cuMemcpy2DAsync(&copy, stream)


cdef int32_t copy_packed(bint to_device, uint64_t at, uint64_t pitch, uint64_t width, uint64_t offset,
                         uint64_t size, uint8_t *host, CUstream stream) noexcept nogil:
    """Copies packed bytes [offset, offset + size): the rest of a row, whole rows, the start of a row."""
    cdef uint64_t row = offset // width
    cdef uint64_t skip = offset % width
    cdef uint64_t part
    cdef int32_t status = SUCCESS
    if pitch == width:
        return copy_rows(to_device, at + offset, size, size, 1, host, stream)
    while size and status == SUCCESS:
        part = width - skip if width - skip < size else size
        if skip == 0 and size >= width:
            part = size // width * width
            status = copy_rows(to_device, at + row * pitch, pitch, width, part // width, host, stream)
            row += part // width
        else:
            status = copy_rows(to_device, at + row * pitch + skip, part, part, 1, host, stream)
            row += 1
        skip = 0
        host += part
        size -= part
    return status


cdef void pin_staging(Session *s) noexcept nogil:
    """Pins the staging that there is: a copy to or from memory that isn't would wait for its stream."""
    while s.slabs_pinned < s.staging.slab_count:
        cydriver.cuMemHostRegister(s.staging.slabs[s.slabs_pinned], STAGING_SLAB * RM_BULK_MAX, 1)  # PORTABLE
        if s.visible == NULL:  # else payloads that can't pass it by are rare
            rm_register(s.channel, s.staging.slabs[s.slabs_pinned], STAGING_SLAB * RM_BULK_MAX)
        s.slabs_pinned += 1


cdef int32_t payload(Session *s, Call *c, uint64_t total, const uint8_t **data, Piece **piece) noexcept nogil:
    """What a record carries: in itself, or the bulk message that follows it (then piece is the caller's)."""
    piece[0] = NULL
    data[0] = c.bytes
    if total <= INLINE_MAX:
        return SUCCESS if c.byte_count >= total else RM_BAD_RECORD
    if total > RM_BULK_MAX:
        return RM_BAD_RECORD
    if staging_waits(&s.staging):
        rm_expect(s.channel, 1)
        piece[0] = staging_payload(&s.staging)
        rm_expect(s.channel, -1)
    else:
        piece[0] = staging_payload(&s.staging)
    if piece[0] == NULL:
        return RM_PENDING  # the session has ended; nobody is left to tell
    data[0] = piece[0].bytes
    return SUCCESS if piece[0].size == total else RM_BAD_RECORD


cdef void payload_drop(Session *s, const rm_record *record) noexcept nogil:
    """Takes the payload of a record that is not executed out of the way."""
    cdef const rm_q_copy_in *copy = <const rm_q_copy_in *>(record + 1)
    cdef const rm_q_image_data *image = <const rm_q_image_data *>(record + 1)
    cdef uint64_t total = 0
    cdef Piece *piece
    if record.op == RM_CALL_copy_in and record.size >= sizeof(rm_record) + sizeof(rm_q_copy_in):
        total = copy.width * copy.rows
    if record.op == RM_CALL_image_data and record.size >= sizeof(rm_record) + sizeof(rm_q_image_data):
        total = image.bytes
    if INLINE_MAX < total <= RM_BULK_MAX:
        piece = staging_payload(&s.staging)
        if piece != NULL:
            staging_put(&s.staging, piece)


cdef int32_t h_copy_in(Session *s, Call *c, const rm_q_copy_in *q) noexcept nogil:
    cdef const uint8_t *data = NULL
    cdef Piece *piece = NULL
    cdef uint64_t total = 0
    cdef uint64_t extent = 0
    cdef Target t
    cdef int32_t status
    if not extent_of(q.pitch, q.width, q.rows, &total, &extent):
        return RM_BAD_RECORD
    status = payload(s, c, total, &data, &piece)
    if status == SUCCESS and not (piece != NULL and piece.placed):
        return copy_in(s, c, q, extent, <uint8_t *>data, piece)
    if status == SUCCESS:
        status = target_of(s, c, q.stream, &t)  # the bytes are there; what was asked may be wrong all the same
    if piece != NULL:
        staging_put(&s.staging, piece)
    return status


cdef int32_t copy_in(Session *s, Call *c, const rm_q_copy_in *q, uint64_t extent, uint8_t *data,
                     Piece *piece) noexcept nogil:
    """Copies a payload; its piece goes back when the device has it."""
    cdef Target t
    cdef Item *item = NULL
    cdef int32_t status = target_of(s, c, q.stream, &t)
    if status == SUCCESS:
        status = check_range(s, q.dst, extent)
    if status == SUCCESS:
        pin_staging(s)
        status = copy_rows(True, q.dst, q.pitch, q.width, q.rows, data, t.stream)
    if status == SUCCESS and q.token:
        status = fence_raise(s, &t)
    if piece == NULL:
        return status
    if status == SUCCESS and <int32_t>cydriver.cuStreamQuery(t.stream) == NOT_READY:
        item = item_make(ITEM_GIVE_BACK, 0)
        if item != NULL:
            item.pieces = piece
            if lane_add(s, &t, item, False) == SUCCESS:
                return SUCCESS
            free(item)
        status = <int32_t>cydriver.cuStreamSynchronize(t.stream)
    staging_put(&s.staging, piece)
    return status


cdef int32_t h_copy_in_pull(Session *s, Call *c, const rm_q_copy_in_pull *q) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint64_t extent = 0
    cdef Gate *gate
    cdef Target t
    cdef int32_t status
    if not extent_of(q.pitch, q.width, q.rows, &total, &extent):
        return RM_BAD_RECORD
    gate = gate_of(s, c.record.ctx, GATE_PULL, q.token)
    if gate == NULL:
        return OUT_OF_MEMORY
    status = target_of(s, c, q.stream, &t)
    if status == SUCCESS:
        gate.ctx = t.context.id
        status = check_range(s, q.dst, extent)
    gate.at = q.dst
    gate.pitch = q.pitch
    gate.width = q.width
    gate.rows = q.rows
    return gate_ask(s, &t, gate, status)


cdef int32_t h_copy_out(Session *s, Call *c, const rm_q_copy_out *q) noexcept nogil:
    """DONE is sent exactly once for every copy out, with the status when it could not be done."""
    cdef uint64_t total = 0
    cdef uint64_t extent = 0
    cdef Target t
    cdef int32_t status = INVALID_VALUE
    if extent_of(q.pitch, q.width, q.rows, &total, &extent):
        status = target_of(s, c, q.stream, &t)
    if status == SUCCESS and q.flags & OUT_WAITS:
        status = t.context.deferred
        t.context.deferred = SUCCESS
    if status == SUCCESS:
        status = check_range(s, q.src, extent)
    if status == SUCCESS:
        status = copy_out(s, &t, q, total)
    if status == SUCCESS:
        return SUCCESS
    send_done(s, q.token, status)
    return SUCCESS if q.flags & OUT_WAITS else status


cdef int32_t copy_out(Session *s, Target *t, const rm_q_copy_out *q, uint64_t total) noexcept nogil:
    cdef bint waits = q.flags & OUT_WAITS
    cdef bint direct = waits and in_one_piece(s, q.src, q.pitch, q.width, q.rows)
    cdef Item *item
    cdef int32_t status
    if direct and total <= RM_BULK_MAX and out_at_once(s, t, q, total):
        return SUCCESS
    if total > OUT_PIECES * RM_BULK_MAX or (direct and total > RM_BULK_MAX):
        return large_out(s, t, q)
    item = item_make(ITEM_OUT, q.token)
    if item == NULL:
        return OUT_OF_MEMORY
    item.pieces = out_pieces(s, total)
    if item.pieces == NULL:
        free(item)
        return large_out(s, t, q)
    pin_staging(s)
    status = fill_pieces(item.pieces, q, t.stream)
    if status == SUCCESS:
        status = lane_add(s, t, item, waits and total <= RM_BULK_MAX)
    if status != SUCCESS:
        cydriver.cuStreamSynchronize(t.stream)
        give_back(s, item)
        free(item)
    return status


cdef Piece *out_pieces(Session *s, uint64_t total) noexcept nogil:
    """Pieces for total bytes, NULL when staging hasn't so many free now."""
    cdef Piece *first = NULL
    cdef Piece **link = &first
    cdef Piece *piece
    while total:
        piece = staging_take(&s.staging, False)
        if piece == NULL:
            break
        piece.size = <uint32_t>(total if total < RM_BULK_MAX else RM_BULK_MAX)
        total -= piece.size
        link[0] = piece
        link = &piece.next
    if total == 0:
        return first
    while first != NULL:
        piece = first.next
        staging_put(&s.staging, first)
        first = piece
    return NULL


cdef int32_t fill_pieces(Piece *piece, const rm_q_copy_out *q, CUstream stream) noexcept nogil:
    cdef uint64_t offset = 0
    cdef int32_t status = SUCCESS
    while piece != NULL and status == SUCCESS:
        status = copy_packed(False, q.src, q.pitch, q.width, offset, piece.size, piece.bytes, stream)
        offset += piece.size
        piece = piece.next
    return status


cdef int32_t large_out(Session *s, Target *t, const rm_q_copy_out *q) noexcept nogil:
    """A helper moves the data through a few pieces; a gate holds the stream meanwhile.

    No gate is needed where the program waits: it can queue nothing behind the copy that changes the source.
    """
    cdef uint8_t kind = GATE_NONE if q.flags & OUT_WAITS else GATE_LARGE_OUT
    cdef Item *item = item_make(ITEM_LARGE_OUT, q.token)
    cdef Gate *gate = gate_of(s, t.context.id, kind, q.token)
    cdef int32_t status = SUCCESS if item != NULL and gate != NULL else OUT_OF_MEMORY
    if status == SUCCESS:
        item.gate = gate
        gate.kept = True
        gate.at = q.src
        gate.pitch = q.pitch
        gate.width = q.width
        gate.rows = q.rows
    if status == SUCCESS and kind == GATE_LARGE_OUT:
        status = gate_put(s, t, gate)
    if status == SUCCESS:
        status = lane_add(s, t, item, False)
        if status == SUCCESS or kind == GATE_LARGE_OUT:
            gate = NULL  # not to be dropped: the item's, or one that its stream may still reach
    if status != SUCCESS:
        free(item)
        if gate != NULL:
            gate_drop(gate)
    return status


cdef void finish_large_out(Session *s, Item *item, int32_t status) noexcept nogil:
    if status == SUCCESS and item.gate.kind == GATE_NONE:
        move_out(s, item.gate)
    if status == SUCCESS or item.gate.kind == GATE_NONE:
        if status != SUCCESS:
            item.gate.status = status
        status = item.gate.status
        gate_drop(item.gate)
    item_tells(s, item)
    send_done(s, item.token, status)


cdef int32_t h_copy_device(Session *s, Call *c, const rm_q_copy_device *q) noexcept nogil:
    cdef cydriver.CUDA_MEMCPY2D copy
    cdef uint64_t total = 0
    cdef uint64_t to_extent = 0
    cdef uint64_t from_extent = 0
    cdef Target t
    cdef int32_t status = target_of(s, c, q.stream, &t)
    if not extent_of(q.dst_pitch, q.width, q.rows, &total, &to_extent):
        return INVALID_VALUE
    if not extent_of(q.src_pitch, q.width, q.rows, &total, &from_extent):
        return INVALID_VALUE
    if status == SUCCESS:
        status = check_range(s, q.dst, to_extent)
    if status == SUCCESS:
        status = check_range(s, q.src, from_extent)
    if status != SUCCESS:
        return status
    if q.rows == 1 or (q.dst_pitch == q.width and q.src_pitch == q.width):
        return <int32_t>cydriver.cuMemcpyDtoDAsync(<CUdeviceptr>q.dst, <CUdeviceptr>q.src, total, t.stream)
    memset(&copy, 0, sizeof(copy))
    copy.srcMemoryType = cydriver.CUmemorytype_enum.CU_MEMORYTYPE_DEVICE
    copy.dstMemoryType = cydriver.CUmemorytype_enum.CU_MEMORYTYPE_DEVICE
    copy.srcDevice = <CUdeviceptr>q.src
    copy.dstDevice = <CUdeviceptr>q.dst
    copy.srcPitch = q.src_pitch
    copy.dstPitch = q.dst_pitch
    copy.WidthInBytes = q.width
    copy.Height = q.rows
    return <int32_t>cydriver.cuMemcpy2DAsync(&copy, t.stream)
