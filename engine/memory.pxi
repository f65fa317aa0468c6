# Device memory: an arena over one address range per device, charged to the lease's ledger first.


cdef str NOT_REGISTERED = "device memory is not registered for RDMA, copies are staged"


cdef int32_t memory_commit(void *user, uint64_t at, uint64_t size, uint64_t *handle) noexcept nogil:
    """Puts physical memory under a stretch of a device's range."""
    cdef cydriver.CUmemAllocationProp prop
    cdef cydriver.CUmemGenericAllocationHandle made = 0
    memset(&prop, 0, sizeof(prop))
    prop.type = cydriver.CUmemAllocationType_enum.CU_MEM_ALLOCATION_TYPE_PINNED
    prop.location.type = cydriver.CUmemLocationType_enum.CU_MEM_LOCATION_TYPE_DEVICE
    prop.location.id = <int>(<Device *>user).handle
    prop.allocFlags.gpuDirectRDMACapable = (<Device *>user).channel != NULL and (<Device *>user).session.visible == NULL
    cdef int32_t status = <int32_t>cydriver.cuMemCreate(&made, size, &prop, 0)
    if status != SUCCESS:
        return status
    status = <int32_t>cydriver.cuMemMap(<CUdeviceptr>at, size, 0, made, 0)
    if status == SUCCESS:
        status = memory_open(user, at, size)
        if status != SUCCESS:
            cydriver.cuMemUnmap(<CUdeviceptr>at, size)
    if status != SUCCESS:
        cydriver.cuMemRelease(made)
    handle[0] = <uint64_t>made
    if status == SUCCESS:
        memory_announce(<Device *>user, at, size)
    return status


cdef void memory_announce(Device *device, uint64_t at, uint64_t size) noexcept nogil:
    """The network card may read and write it, by the CPU's addresses or as a dma-buf."""
    cdef int error
    device_share(device, at, size)
    if device.channel != NULL:
        if device.session.visible != NULL:
            error = rm_register(device.channel, <void *>at, size)
        else:
            error = dmabuf_register(device, at, size)
        if error and not device.refused:
            device.refused = True
            with gil:
                log_failure(NOT_REGISTERED, os_strerror(-error))


cdef void memory_release(void *user, uint64_t at, uint64_t size, uint64_t handle) noexcept nogil:
    if (<Device *>user).channel != NULL:
        rm_deregister((<Device *>user).channel, <void *>at, size)
    device_unshare(<Device *>user, at, size)
    cydriver.cuMemUnmap(<CUdeviceptr>at, size)
    cydriver.cuMemRelease(<cydriver.CUmemGenericAllocationHandle>handle)


cdef Device *device_at(Session *s, uint64_t ptr) noexcept nogil:
    cdef uint32_t i
    for i in range(s.device_count):
        if s.devices[i].arena.base <= ptr < s.devices[i].arena.base + s.devices[i].arena.bytes:
            return &s.devices[i]
    return NULL


cdef uint32_t device_index(Session *s, Device *device) noexcept nogil:
    return <uint32_t>(device - &s.devices[0])


cdef int32_t check_range(Session *s, uint64_t ptr, uint64_t size) noexcept nogil:
    cdef Device *device = device_at(s, ptr)
    cdef bint held
    if device == NULL:
        return global_range(s, ptr, size)
    pthread_mutex_lock(&device.lock)
    held = arena_holds(&device.arena, ptr, size)
    pthread_mutex_unlock(&device.lock)
    return SUCCESS if held else INVALID_VALUE


cdef int32_t global_range(Session *s, uint64_t ptr, uint64_t size) noexcept nogil:
    cdef int32_t status = INVALID_VALUE
    cdef Range *known
    cdef uint32_t i
    pthread_mutex_lock(&s.make_lock)
    for i in range(s.global_count):
        known = &s.globals[i]
        if known.at <= ptr and ptr - known.at <= known.bytes and size <= known.bytes - (ptr - known.at):
            status = SUCCESS
            break
    pthread_mutex_unlock(&s.make_lock)
    return status


cdef int32_t allocate(Session *s, Context *context, uint64_t size, uint64_t *ptr) noexcept nogil:
    cdef uint32_t index = context.device
    cdef Device *device = &s.devices[index]
    cdef int32_t status
    if not ledger_charge(s.ledger, s.ledger_slot, index, size):
        return OUT_OF_MEMORY
    pthread_mutex_lock(&device.lock)
    status = arena_alloc(&device.arena, size, context.id, ptr)
    pthread_mutex_unlock(&device.lock)
    if status != SUCCESS:
        ledger_return(s.ledger, s.ledger_slot, index, size)
    return OUT_OF_MEMORY if status < 0 else status


cdef struct AllocJob:
    Job job
    rm_record call
    uint64_t size


cdef void run_alloc(void *session, Job *queued) noexcept nogil:
    """Memory was short, but frees are under way: tries again behind them."""
    cdef Session *s = <Session *>session
    cdef AllocJob *job = <AllocJob *>queued
    cdef rm_a_mem_alloc answer
    cdef Context *context = NULL
    cdef int32_t status = enter(s, job.call.ctx, &context)
    answer.ptr = 0
    settle_frees(s)
    if status == SUCCESS:
        status = allocate(s, context, job.size, &answer.ptr)
    send_reply(s, &job.call, status, &answer, sizeof(answer))
    free(job)


cdef int32_t alloc_later(Session *s, Call *c, uint64_t size) noexcept nogil:
    cdef AllocJob *job = <AllocJob *>calloc(1, sizeof(AllocJob))
    if job == NULL:
        return OUT_OF_MEMORY
    job.job.run = run_alloc
    job.call = c.record[0]
    job.size = size
    jobs_push(&s.jobs, &job.job)
    return RM_PENDING


cdef int32_t h_mem_alloc(Session *s, Call *c, const rm_q_mem_alloc *q, rm_a_mem_alloc *a) noexcept nogil:
    cdef Context *context = NULL
    cdef int32_t status = context_get(s, c.record.ctx, &context)
    if status == SUCCESS and q.bytes == 0:
        status = INVALID_VALUE
    if status == SUCCESS:
        status = allocate(s, context, q.bytes, &a.ptr)
    if status == OUT_OF_MEMORY and s.frees:
        return alloc_later(s, c, q.bytes)
    return status


cdef uint64_t free_now(Session *s, uint64_t ptr) noexcept nogil:
    """Frees an allocation that the device is done with; its size, 0 when there is none."""
    cdef Device *device = device_at(s, ptr)
    cdef uint64_t size = 0
    if device == NULL:
        return 0
    pthread_rwlock_wrlock(&device.mapped)
    pthread_mutex_lock(&device.lock)
    size = arena_free(&device.arena, ptr)
    pthread_mutex_unlock(&device.lock)
    pthread_rwlock_unlock(&device.mapped)
    if size:
        ledger_return(s.ledger, s.ledger_slot, device_index(s, device), size)
    return size


cdef uint64_t size_of(Session *s, uint64_t ptr) noexcept nogil:
    cdef Device *device = device_at(s, ptr)
    cdef uint64_t size
    if device == NULL:
        return 0
    pthread_mutex_lock(&device.lock)
    size = arena_size(&device.arena, ptr)
    pthread_mutex_unlock(&device.lock)
    return size


cdef void free_all(Session *s, Context *context) noexcept nogil:
    """Frees what was allocated in a context, which is done with it."""
    cdef Device *device = &s.devices[context.device]
    cdef uint64_t at
    while True:
        pthread_mutex_lock(&device.lock)
        at = arena_any(&device.arena, context.id)
        pthread_mutex_unlock(&device.lock)
        if at == 0:
            return
        free_now(s, at)


cdef int32_t device_settle(Session *s, uint32_t index, uint16_t ctx) noexcept nogil:
    """Waits for the work of every context of a device; the failure of the context ctx, if it has failed."""
    cdef uint64_t id = table_next(&s.contexts, 1)
    cdef Context *context = NULL
    cdef int32_t status = SUCCESS
    cdef int32_t failed = SUCCESS
    while id < TABLE_LIMIT:
        context = <Context *>table_get(&s.contexts, id)
        if context != NULL and context.device == index:
            status = enter(s, id, &context)
            if status == SUCCESS:
                status = <int32_t>cydriver.cuCtxSynchronize()
            if id == ctx:
                failed = status
        id = table_next(&s.contexts, id + 1)
    return failed


cdef int32_t users_settle(Session *s, Device *device, uint16_t ctx) noexcept nogil:
    """Waits for all that may use a device's memory."""
    cdef uint32_t i
    cdef uint32_t own = device_index(s, device)
    cdef int32_t status = device_settle(s, own, ctx)
    cdef int32_t other
    for i in range(s.device_count):
        if i != own and device.users & (<uint32_t>1 << i):
            other = device_settle(s, i, ctx)
            status = status if status != SUCCESS else other
    return status


cdef int32_t h_mem_free(Session *s, Call *c, const rm_q_mem_free *q) noexcept nogil:
    """Waits for the device that the memory is of, as cuMemFree does, and for those that share it."""
    cdef int32_t status
    if size_of(s, q.ptr) == 0:
        return INVALID_VALUE
    status = users_settle(s, device_at(s, q.ptr), c.record.ctx)
    if status == SUCCESS and free_now(s, q.ptr) == 0:
        status = INVALID_VALUE
    return status


cdef int32_t h_mem_free_async(Session *s, Call *c, const rm_q_mem_free_async *q) noexcept nogil:
    cdef Target t
    cdef Item *item
    cdef int32_t status = target_of(s, c, q.stream, &t)
    if status != SUCCESS:
        return status
    if size_of(s, q.ptr) == 0:
        return INVALID_VALUE
    item = item_make(ITEM_FREE, q.ptr)
    if item == NULL:
        return OUT_OF_MEMORY
    status = lane_add(s, &t, item, False)
    if status != SUCCESS:
        free(item)
    return status


cdef int32_t h_mem_info(Session *s, Call *c, rm_a_mem_info *a) noexcept nogil:
    """What the partition has, and what of it can be had now: another tenant's load may be the tighter limit."""
    cdef Context *context = NULL
    cdef size_t device_free = 0
    cdef size_t device_total = 0
    cdef uint64_t used
    cdef uint64_t slack
    cdef int32_t status = enter(s, c.record.ctx, &context)
    if status != SUCCESS:
        return status
    used = ledger_used(s.ledger, context.device)
    a.total = s.ledger.quota[context.device]
    a.free = a.total - used if used < a.total else 0
    status = <int32_t>cydriver.cuMemGetInfo(&device_free, &device_total)
    slack = s.devices[context.device].arena.committed
    used = s.ledger.slots[s.ledger_slot].used[context.device]
    if status == SUCCESS and device_free + (slack - used if used < slack else 0) < a.free:
        a.free = device_free + (slack - used if used < slack else 0)
    return status
