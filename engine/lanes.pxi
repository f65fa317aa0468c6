# Lanes: what waits for a point of a stream, in stream order.
#
# An item carries an event recorded behind it. A helper drains a lane oldest first, so that the data of a copy
# out leaves before the answer of a later synchronize; one stream's wait never holds up another's.

cdef enum:
    POLL_NS = 50000   # how long a helper polls before it sleeps: about two thread switches
    QUICK_NS = 20000  # how long the issuer itself polls for what is nearly done: less than handing it over


cdef Lane *lane_make(Session *s, uint16_t ctx, CUstream stream) noexcept nogil:
    cdef Lane *lane = <Lane *>calloc(1, sizeof(Lane))
    if lane != NULL:
        lane.ctx = ctx
        lane.stream = stream
        lane.job.run = drain
        pthread_mutex_lock(&s.lane_lock)
        lane.all = s.lanes
        s.lanes = lane
        pthread_mutex_unlock(&s.lane_lock)
    return lane


cdef void lane_drop(Session *s, Lane *lane) noexcept nogil:
    """The lane's stream goes; the lane goes when it is empty."""
    pthread_mutex_lock(&s.lane_lock)
    lane.orphaned = True
    if not lane.draining:
        lane_free(s, lane)
    pthread_mutex_unlock(&s.lane_lock)


cdef void lanes_leave(Session *s, uint16_t ctx) noexcept nogil:
    """A context goes, and all its streams with it, those of threads too."""
    cdef Lane *lane
    cdef Lane *after
    pthread_mutex_lock(&s.lane_lock)
    lane = s.lanes
    while lane != NULL:
        after = lane.all
        if lane.ctx == ctx:
            lane.orphaned = True
            if not lane.draining:
                lane_free(s, lane)
        lane = after
    pthread_mutex_unlock(&s.lane_lock)


cdef void lane_free(Session *s, Lane *lane) noexcept nogil:
    """Called with lane_lock held."""
    cdef Lane **link = &s.lanes
    while link[0] != lane:
        link = &link[0].all
    link[0] = lane.all
    free(lane)


cdef Item *item_make(uint8_t kind, uint64_t token) noexcept nogil:
    cdef Item *item = <Item *>calloc(1, sizeof(Item))
    if item != NULL:
        item.kind = kind
        item.token = token
    return item


cdef int32_t event_take(Session *s, Context *context, CUevent *out) noexcept nogil:
    cdef bint found = False
    pthread_mutex_lock(&s.lane_lock)
    if context.event_count:
        context.event_count -= 1
        out[0] = context.events[context.event_count]
        found = True
    pthread_mutex_unlock(&s.lane_lock)
    if found:
        return SUCCESS
    return <int32_t>cydriver.cuEventCreate(out, 3)  # CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING


cdef void event_give(Session *s, Context *context, CUevent event) noexcept nogil:
    """Called with lane_lock held."""
    cdef CUevent *more
    if context.event_count == context.event_room:
        more = <CUevent *>realloc(context.events, (context.event_room * 2 + 16) * sizeof(CUevent))
        if more == NULL:
            return
        context.events = more
        context.event_room = context.event_room * 2 + 16
    context.events[context.event_count] = event
    context.event_count += 1


cdef int32_t lane_add(Session *s, Target *t, Item *item, bint quick) noexcept nogil:
    """Queues an item behind what the stream has to do now. On failure the item is still the caller's.

    quick: somebody waits; if the stream gets there in no time, the item is completed here.
    """
    cdef Context *context = NULL
    cdef int32_t status = enter(s, t.context.id, &context)  # events work on streams of their own context only
    if status == SUCCESS:
        status = event_take(s, t.context, &item.event)
    if status == SUCCESS:
        status = <int32_t>cydriver.cuEventRecord(item.event, t.stream)
    if status == SUCCESS and not (quick and lane_quick(s, t, item)):
        lane_append(s, t, item)
    return status


cdef int32_t poll_event(CUevent event, uint64_t ns) noexcept nogil:
    """What the event says, within ns if it isn't reached; the CPU is given away between looks."""
    cdef uint64_t start = now_ns()
    cdef int32_t status = <int32_t>cydriver.cuEventQuery(event)
    while status == NOT_READY and now_ns() - start < ns:
        sched_yield()
        status = <int32_t>cydriver.cuEventQuery(event)
    return status


cdef bint lane_quick(Session *s, Target *t, Item *item) noexcept nogil:
    """Completes an item that nothing is before, if its event comes at once. Issuer only."""
    cdef int32_t status = poll_event(item.event, QUICK_NS) if lane_clear(s, t.lane) else <int32_t>NOT_READY
    if status == NOT_READY:
        return False
    complete(s, item, status)
    pthread_mutex_lock(&s.lane_lock)
    event_give(s, t.context, item.event)
    pthread_mutex_unlock(&s.lane_lock)
    free(item)
    return True


cdef void lane_append(Session *s, Target *t, Item *item) noexcept nogil:
    """Waits while too many items are pending."""
    cdef bint start
    pthread_mutex_lock(&s.lane_lock)
    while s.items >= ITEMS_MAX and not s.ended:
        pthread_cond_wait(&s.lane_moved, &s.lane_lock)
    s.items += 1
    s.issued += 1
    item.seq = s.issued
    if t.lane.last != NULL:
        t.lane.last.next = item
    else:
        t.lane.first = item
    t.lane.last = item
    if item.kind == ITEM_OUT or item.kind == ITEM_LARGE_OUT:
        s.outs += 1
    if item.kind == ITEM_FREE:
        s.frees += 1
    start = not t.lane.draining
    t.lane.draining = True
    pthread_mutex_unlock(&s.lane_lock)
    if start:
        jobs_push(&s.jobs, &t.lane.job)


cdef bint lane_empty(Lane *lane) noexcept nogil:
    """Called with lane_lock held. Memory to give back and gates that were passed don't count: no client can tell."""
    cdef Item *item = lane.first
    while item != NULL and (item.kind == ITEM_GIVE_BACK or item.kind == ITEM_GATE):
        item = item.next
    return item == NULL


cdef bint lane_clear(Session *s, Lane *lane) noexcept nogil:
    """Whether nothing waits in the lane, and no data is on its way to the client."""
    cdef bint clear
    pthread_mutex_lock(&s.lane_lock)
    clear = s.outs == 0 and lane_empty(lane)
    pthread_mutex_unlock(&s.lane_lock)
    return clear


cdef bint lane_idle(Session *s, Target *t) noexcept nogil:
    """Whether the stream has nothing to do and nothing of it is on its way to the client."""
    return lane_clear(s, t.lane) and <int32_t>cydriver.cuStreamQuery(t.stream) == SUCCESS


cdef bint lane_rests(Session *s, Target *t) noexcept nogil:
    """Whether the stream is idle, or is so in no time. Issuer only: nothing is issued meanwhile."""
    cdef uint64_t start = now_ns()
    while not lane_idle(s, t):
        if now_ns() - start > QUICK_NS:
            return False
        sched_yield()
    return True


cdef bint context_idle(Session *s, Context *context) noexcept nogil:
    """As lane_idle, for all streams of the context, which is current."""
    cdef Lane *lane = NULL
    cdef bint idle
    pthread_mutex_lock(&s.lane_lock)
    idle = s.outs == 0 and not context.stray
    lane = s.lanes
    while idle and lane != NULL:
        if lane.ctx == context.id:
            idle = lane_empty(lane) and (
                lane.orphaned or <int32_t>cydriver.cuStreamQuery(lane.stream) == SUCCESS)
        lane = lane.all
    pthread_mutex_unlock(&s.lane_lock)
    return idle


cdef bint context_rests(Session *s, Context *context) noexcept nogil:
    """As lane_rests, for all streams of the context."""
    cdef uint64_t start = now_ns()
    while not context_idle(s, context):
        if now_ns() - start > QUICK_NS:
            return False
        sched_yield()
    return True


cdef bint stream_reached(Session *s, Target *t) noexcept nogil:
    """Whether the stream could do its next work now, or in no time: its own is done, and what the default
    stream's order puts before it. Nothing is on its way to the client. Issuer only."""
    cdef Context *context = NULL
    cdef CUevent event = NULL
    cdef int32_t status = enter(s, t.context.id, &context)
    if status != SUCCESS or not lane_clear(s, t.lane):
        return False
    if <int32_t>cydriver.cuStreamQuery(t.stream) == SUCCESS and <int32_t>cydriver.cuStreamQuery(NULL) == SUCCESS:
        return True
    if event_take(s, t.context, &event) != SUCCESS:
        return False
    status = <int32_t>cydriver.cuEventRecord(event, t.stream)
    if status == SUCCESS:
        status = poll_event(event, QUICK_NS)
    pthread_mutex_lock(&s.lane_lock)
    event_give(s, t.context, event)
    pthread_mutex_unlock(&s.lane_lock)
    return status == SUCCESS


cdef int32_t wait_event(CUevent event) noexcept nogil:
    """Polls for a moment, giving the CPU away between tries, then sleeps in the driver."""
    cdef int32_t status = poll_event(event, POLL_NS)
    return <int32_t>cydriver.cuEventSynchronize(event) if status == NOT_READY else status


cdef void drain(void *session, Job *job) noexcept nogil:
    cdef Session *s = <Session *>session
    cdef Lane *lane = <Lane *>job
    cdef Context *context = NULL
    cdef Item *item
    cdef int32_t status = enter(s, lane.ctx, &context)
    pthread_mutex_lock(&s.lane_lock)
    while lane.first != NULL:
        item = lane.first
        pthread_mutex_unlock(&s.lane_lock)
        complete(s, item, wait_event(item.event) if status == SUCCESS else status)
        pthread_mutex_lock(&s.lane_lock)
        lane_pop(s, lane, context)
    lane.draining = False
    if lane.orphaned:
        lane_free(s, lane)
    pthread_mutex_unlock(&s.lane_lock)


cdef void lane_pop(Session *s, Lane *lane, Context *context) noexcept nogil:
    """Called with lane_lock held."""
    cdef Item *item = lane.first
    lane.first = item.next
    if lane.first == NULL:
        lane.last = NULL
    s.items -= 1
    s.told -= item.told
    if item.kind == ITEM_OUT or item.kind == ITEM_LARGE_OUT:
        s.outs -= 1
    if item.kind == ITEM_FREE:
        s.frees -= 1
    if context != NULL:
        event_give(s, context, item.event)
    pthread_cond_broadcast(&s.lane_moved)
    free(item)


cdef void complete(Session *s, Item *item, int32_t status) noexcept nogil:
    """Does what the item waited to do; the stream has got there, or has failed with status."""
    if item.status != SUCCESS:
        status = item.status
    if item.kind == ITEM_SYNC or item.kind == ITEM_MARK:
        settle(s, item.seq)
    if item.kind == ITEM_SYNC or item.kind == ITEM_MARK:
        item_tells(s, item)
    if item.kind == ITEM_SYNC:
        send_reply(s, &item.call, status, NULL, 0)
    elif item.kind == ITEM_MARK:
        send_done(s, item.token, status)
    elif item.kind == ITEM_OUT:
        send_pieces(s, item, status)
    elif item.kind == ITEM_LARGE_OUT:
        finish_large_out(s, item, status)
    elif item.kind == ITEM_FREE:
        free_now(s, item.token)
    elif item.kind == ITEM_GATE and status != SUCCESS:
        gate_give_up(&s.gates, item.token, status)
    give_back(s, item)


cdef void item_tells(Session *s, Item *item) noexcept nogil:
    """Before the last word of an item to the client: all that it had to do with the device's memory is done.

    Of items in lanes, as s.items: one that lane_quick completes was never counted, whatever thread that is on.
    """
    if item.seq and jobs_told(&s.jobs):
        pthread_mutex_lock(&s.lane_lock)
        s.told += 1
        item.told = True
        pthread_mutex_unlock(&s.lane_lock)


cdef void give_back(Session *s, Item *item) noexcept nogil:
    cdef Piece *piece = item.pieces
    cdef Piece *after
    while piece != NULL:
        after = piece.next
        staging_put(&s.staging, piece)
        piece = after
    item.pieces = NULL


cdef void send_pieces(Session *s, Item *item, int32_t status) noexcept nogil:
    cdef Piece *piece = item.pieces
    tell_printed(s)
    while piece != NULL and status == SUCCESS:
        rm_bulk_lend(s.channel, <uint32_t>item.token, piece.bytes, piece.size, True)
        piece = piece.next
    item_tells(s, item)
    send_done(s, item.token, status)
    rm_bulk_returned(s.channel)


cdef void settle(Session *s, uint64_t seq) noexcept nogil:
    """Waits until all data that the device had ready, of items issued up to seq, has been sent.

    A wait of one stream can imply that another's copy is done (through events); it must not be answered before
    the copy's data. Items only wait for older ones, so this ends.
    """
    pthread_mutex_lock(&s.lane_lock)
    while s.outs and ready_out(s, seq):
        pthread_cond_wait(&s.lane_moved, &s.lane_lock)
    pthread_mutex_unlock(&s.lane_lock)


cdef bint ready_out(Session *s, uint64_t seq) noexcept nogil:
    """Called with lane_lock held: whether some older copy out is done on the device, but not sent."""
    cdef Lane *lane = s.lanes
    cdef Item *item
    while lane != NULL:
        item = lane.first
        while item != NULL and item.seq < seq:
            if item.kind == ITEM_OUT or item.kind == ITEM_LARGE_OUT:
                if <int32_t>cydriver.cuEventQuery(item.event) == SUCCESS:
                    return True
            item = item.next
        lane = lane.all
    return False


cdef void settle_frees(Session *s) noexcept nogil:
    """Waits until the frees that are pending in stream order are through."""
    pthread_mutex_lock(&s.lane_lock)
    while s.frees:
        pthread_cond_wait(&s.lane_moved, &s.lane_lock)
    pthread_mutex_unlock(&s.lane_lock)
