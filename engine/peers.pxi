# Devices that use each other's memory. Each allocation of a device is made for its users as well; what was
# granted stays granted while the session lasts.

cdef enum:
    PEER_ACCESS_UNSUPPORTED = 217
    PEER_ACCESS_ALREADY_ENABLED = 704


cdef size_t memory_users(const Device *device, cydriver.CUmemAccessDesc *users) noexcept nogil:
    """Who may use the device's memory: itself first. `users` has room for all devices of the session."""
    cdef Session *s = device.session
    cdef size_t count = 1
    cdef uint32_t i
    users[0].location.id = <int>device.handle
    for i in range(s.device_count):
        if device.users & (<uint32_t>1 << i):
            users[count].location.id = <int>s.devices[i].handle
            count += 1
    for i in range(<uint32_t>count):
        users[i].location.type = cydriver.CUmemLocationType_enum.CU_MEM_LOCATION_TYPE_DEVICE
        users[i].flags = cydriver.CUmemAccess_flags_enum.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
    return count


cdef int32_t memory_open(void *user, uint64_t at, uint64_t size) noexcept nogil:
    """Gives those who may use a device's memory access to a stretch of it."""
    cdef cydriver.CUmemAccessDesc users[8]
    cdef size_t count
    memset(&users, 0, sizeof(users))
    count = memory_users(<Device *>user, &users[0])
    return <int32_t>cydriver.cuMemSetAccess(<CUdeviceptr>at, size, &users[0], count)


cdef int32_t peer_ask(Session *s, uint32_t device, uint32_t peer, int32_t attribute, int32_t *value) noexcept nogil:
    if device >= s.device_count or peer >= s.device_count:
        return 101  # CUDA_ERROR_INVALID_DEVICE
    if attribute == 0:
        return <int32_t>cydriver.cuDeviceCanAccessPeer(
            <int *>value, s.devices[device].handle, s.devices[peer].handle)
    return <int32_t>cydriver.cuDeviceGetP2PAttribute(
        <int *>value, <cydriver.CUdevice_P2PAttribute>attribute, s.devices[device].handle, s.devices[peer].handle)


cdef int32_t h_peer_attribute(
        Session *s, Call *c, const rm_q_peer_attribute *q, rm_a_peer_attribute *a) noexcept nogil:
    return peer_ask(s, q.device, q.peer, q.attribute, &a.value)


cdef int32_t peer_grant(Session *s, uint32_t owner, uint32_t user) noexcept nogil:
    """Lets one device use all memory of another, what is allocated later included."""
    cdef int32_t able = 0
    cdef uint32_t before
    cdef Device *device
    cdef int32_t status = peer_ask(s, user, owner, 0, &able)
    if status != SUCCESS or not able:
        return status if status != SUCCESS else PEER_ACCESS_UNSUPPORTED
    device = &s.devices[owner]
    pthread_mutex_lock(&device.lock)
    before = device.users
    device.users |= <uint32_t>1 << user
    if device.users != before:
        status = arena_each(&device.arena, memory_open, device)
    if status != SUCCESS:
        device.users = before
    pthread_mutex_unlock(&device.lock)
    return status


cdef int32_t h_peer_grant(Session *s, Call *c, const rm_q_peer_grant *q) noexcept nogil:
    return peer_grant(s, q.owner, q.user)


cdef int32_t h_peer_enable(Session *s, Call *c, const rm_q_peer_enable *q) noexcept nogil:
    """The driver's own call is for what it allocates itself: variables of modules."""
    cdef Context *context = NULL
    cdef Context *peer = NULL
    cdef int32_t status = context_get(s, q.peer, &peer)
    if status == SUCCESS:
        status = enter(s, c.record.ctx, &context)
    if status == SUCCESS:
        status = <int32_t>cydriver.cuCtxEnablePeerAccess(peer.handle, 0)
    if status == PEER_ACCESS_ALREADY_ENABLED:
        status = SUCCESS
    return peer_grant(s, peer.device, context.device) if status == SUCCESS else status
