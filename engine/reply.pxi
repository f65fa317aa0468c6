# What the engine sends on the reverse ring: replies, completions, requests to the client.


cdef void send_reply(Session *s, const rm_record *call, int32_t status, const void *body, uint32_t size) noexcept nogil:
    cdef rm_record *record
    cdef rm_reply *reply
    tell_printed(s)
    record = rm_begin(s.channel, <uint32_t>(sizeof(rm_record) + sizeof(rm_reply)) + size)
    if record == NULL and size:  # more than a record of the client's small ring holds
        size = 0
        status = OUT_OF_MEMORY
        record = rm_begin(s.channel, <uint32_t>(sizeof(rm_record) + sizeof(rm_reply)))
    if record == NULL:
        return
    reply = <rm_reply *>(record + 1)
    record.op = RM_OP_REPLY
    record.seq = call.seq
    record.ctx = call.ctx
    record.thread = call.thread
    reply.status = status
    reply.reserved = 0
    if size:
        memcpy(reply + 1, body, size)
    rm_commit_unsent(s.channel)
    rm_flush(s.channel)
    if s.ledger != NULL:
        s.ledger.slots[s.ledger_slot].answers += 1


cdef void send_done(Session *s, uint64_t token, int32_t status) noexcept nogil:
    cdef rm_record *record = rm_begin(s.channel, sizeof(rm_record) + sizeof(rm_done))
    cdef rm_done *done = <rm_done *>(record + 1)
    if record == NULL:
        return
    record.op = RM_OP_DONE
    done.token = token
    done.status = status
    done.reserved = 0
    rm_commit_unsent(s.channel)
    rm_flush(s.channel)


cdef void send_callback(Session *s, uint64_t token, int32_t status) noexcept nogil:
    cdef rm_record *record = rm_begin(s.channel, sizeof(rm_record) + sizeof(rm_callback))
    cdef rm_callback *callback = <rm_callback *>(record + 1)
    if record == NULL:
        return
    record.op = RM_OP_CALLBACK
    callback.token = token
    callback.status = status
    callback.reserved = 0
    rm_commit_unsent(s.channel)
    rm_flush(s.channel)


cdef void send_pull(Session *s, Gate *gate, uint64_t offset, uint32_t size) noexcept nogil:
    cdef rm_record *record = rm_begin(s.channel, sizeof(rm_record) + sizeof(rm_pull))
    cdef rm_pull *pull = <rm_pull *>(record + 1)
    if record == NULL:
        return
    record.op = RM_OP_PULL
    pull.token = gate.token
    pull.offset = offset
    pull.size = size
    pull.tag = gate.tag
    rm_commit_unsent(s.channel)
    rm_flush(s.channel)
