# The session's ends: opened on a connected socket, fed by the channel's reading thread.


cdef extern from "transport/link.h" nogil:
    rm_channel *rm_channel_over(rm_link *link, const rm_options *options, const rm_events *events, void *user)


cdef void *on_bulk(void *user, uint32_t tag, size_t n) noexcept nogil:
    cdef Session *s = <Session *>user
    cdef rm_preceding before
    cdef Piece *piece
    cdef uint64_t where = 0
    if n > RM_BULK_MAX:
        return NULL
    if tag:
        return gate_room(&s.gates, tag, n)
    piece = staging_land(&s.staging)
    if piece == NULL:
        return NULL
    piece.size = <uint32_t>n
    before = rm_bulk_preceding(s.channel)
    piece.placed = lands_directly(s, &before, n, &where)
    if before.alone or piece.placed:
        rm_bulk_needed(s.channel)
    if s.landing == NULL:
        s.landing = piece
    else:
        s.landing_last.next = piece
    s.landing_last = piece
    return <void *>where if piece.placed else piece.bytes


cdef void on_bulk_done(void *user, uint32_t tag, void *where, size_t n) noexcept nogil:
    cdef Session *s = <Session *>user
    cdef Piece *piece
    if tag:
        gate_landed(&s.gates, tag)
        rm_bulk_release(s.channel, tag)
        return
    piece = s.landing
    s.landing = piece.next
    piece.next = NULL
    staging_landed(&s.staging, piece)
    staging_credit(&s.staging)


cdef void on_urgent(void *user, const void *data, size_t n) noexcept nogil:
    cdef Session *s = <Session *>user
    cdef const rm_callback_done *done = <const rm_callback_done *>data
    if n < sizeof(rm_callback_done) or done.kind != RM_URGENT_CALLBACK_DONE:
        return
    if gate_answer(&s.gates, done.token):
        rm_expect(s.channel, -1)


cdef void on_end(void *user, int error, const char *why) noexcept nogil:
    """All waits of the session end; the process goes soon after.

    Nothing lands any more (rm_events.on_end), so who waited for a payload may let go of the memory it was for.
    """
    cdef Session *s = <Session *>user
    staging_end(&s.staging)
    gates_end(&s.gates)
    pthread_mutex_lock(&s.lane_lock)
    s.ended = True
    pthread_cond_broadcast(&s.lane_moved)
    pthread_mutex_unlock(&s.lane_lock)


cdef const rm_record *record_next(Session *s, int *error) noexcept nogil:
    return rm_next(s.channel, -1, error)


cdef void record_release(Session *s, const rm_record *record) noexcept nogil:
    rm_release(s.channel, record)


cdef int32_t device_open(Device *device, CUdevice handle, uint64_t base, uint64_t size, uint64_t granule) noexcept nogil:
    cdef ArenaDriver driver
    driver.commit = memory_commit
    driver.release = memory_release
    driver.user = device
    device.handle = handle
    pthread_mutex_init(&device.lock, NULL)
    mapped_init(&device.mapped)
    return SUCCESS if arena_init(&device.arena, base, size, granule, driver) else OUT_OF_MEMORY


cdef int32_t session_open(Session *s, rm_link *link, uint32_t ring_bytes, uint32_t window, const char *peer) noexcept nogil:
    """Takes the link over. The session's devices, ledger and images are set before."""
    cdef uint32_t i
    cdef rm_options options
    cdef rm_events events
    memset(&options, 0, sizeof(options))
    memset(&events, 0, sizeof(events))
    options.ring_bytes = ring_bytes
    options.bulk_window = window
    options.spin_us = <uint32_t>0xffffffff
    options.peer = peer
    options.bulk_overlaps = True  # the issuer waits for payloads itself
    events.on_bulk = on_bulk
    events.on_bulk_done = on_bulk_done
    events.on_urgent = on_urgent
    events.on_end = on_end
    pthread_mutex_init(&s.make_lock, NULL)
    pthread_mutex_init(&s.lane_lock, NULL)
    pthread_cond_init(&s.lane_moved, NULL)
    jobs_init(&s.jobs, s)
    gates_init(&s.gates, &s.jobs)
    s.visible = driver_shows_memory()
    if s.visible != NULL and s.visible.bytes >= sizeof(sg_visible):
        s.visible.listen(printed_error)
    if not staging_init(&s.staging, window):
        return OUT_OF_MEMORY
    s.channel = rm_channel_over(link, &options, &events, s)
    s.staging.channel = s.channel
    if s.channel != NULL:
        staging_share(&s.staging)
    for i in range(s.device_count if s.visible != NULL else 0):
        s.devices[i].channel = s.channel
    if s.visible == NULL and s.channel != NULL:
        dmabuf_open(s)
    return SUCCESS if s.channel != NULL else OUT_OF_MEMORY


cdef class Handle:
    """A session and what Python keeps alive for it.

    devices: (CUdevice, base, bytes, granule) of each; ledger: address of the lease's ledger; images: see images.py.
    """

    def __cinit__(self, Carrying carrier, list devices, uint64_t ledger, uint32_t slot, object images, uint32_t ring_bytes,
                  uint32_t window, str peer):
        cdef bytes name = peer.encode()
        self.s = <Session *>calloc(1, sizeof(Session))
        self.images = images
        if self.s == NULL or len(devices) > MAX_DEVICES:
            raise MemoryError
        self.s.images = <void *>images
        self.s.ledger = <Ledger *>ledger
        self.s.ledger_slot = slot
        for handle, base, size, granule in devices:
            self.s.devices[self.s.device_count].session = self.s
            if device_open(&self.s.devices[self.s.device_count], handle, base, size, granule) != SUCCESS:
                raise MemoryError
            self.s.device_count += 1
        if session_open(self.s, carrier.take(), ring_bytes, window, name) != SUCCESS:
            raise MemoryError

    def read(self) -> int:
        """Reads the channel until it ends: on a thread of its own."""
        cdef int error
        with nogil:
            error = rm_read_loop(self.s.channel)
        return error

    def close(self, int drain_ms) -> None:
        """Ends the channel; a peer that broke the protocol is told what it did."""
        with nogil:
            if self.s.broken[0]:
                rm_channel_end(self.s.channel, self.s.broken)
            rm_channel_close(self.s.channel, drain_ms)

    def bulk(self) -> tuple[int, int]:
        """Bytes of bulk messages that went straight from or to their memory, and those that were copied."""
        cdef rm_traffic traffic
        rm_channel_stats(self.s.channel, &traffic)
        return traffic.bulk_direct, traffic.bulk_copied

    def reason(self) -> tuple[int, str]:
        """Why the session ended: an error of channel.h (0: it has not) and one line."""
        cdef const char *why = b""
        cdef int error = rm_channel_error(self.s.channel, &why)
        if self.s.broken[0]:
            return RM_EPROTO, (<bytes>self.s.broken).decode(errors="replace")
        return error, why.decode(errors="replace")


cdef str os_strerror(int error):
    import os

    return os.strerror(error)


cdef void log_failure(str what, object error):
    import logging

    logging.getLogger("remora.engine").warning("%s: %s", what, error)


def reserve(uint64_t size, uint64_t hint) -> int:
    """Reserves size bytes of device addresses at hint if they are free there; the address, which may be another.

    Raises MemoryError with the driver's code.
    """
    cdef CUdeviceptr ptr = 0
    cdef int32_t status = <int32_t>cydriver.cuMemAddressReserve(&ptr, size, 0, <CUdeviceptr>hint, 0)
    if status != SUCCESS:
        raise MemoryError(f"cuMemAddressReserve of {size} bytes: CUDA error {status}")
    return <uint64_t>ptr


def unreserve(uint64_t ptr, uint64_t size) -> None:
    """Gives addresses from reserve back."""
    cydriver.cuMemAddressFree(<CUdeviceptr>ptr, size)


def devices(list parts) -> list:
    """(ordinal, base, bytes) of each part -> what Handle takes: the driver's handle and granularity as well."""
    cdef CUdevice handle
    cdef size_t granule
    cdef cydriver.CUmemAllocationProp prop
    made = []
    for ordinal, base, size in parts:
        memset(&prop, 0, sizeof(prop))
        prop.type = cydriver.CUmemAllocationType_enum.CU_MEM_ALLOCATION_TYPE_PINNED
        prop.location.type = cydriver.CUmemLocationType_enum.CU_MEM_LOCATION_TYPE_DEVICE
        prop.location.id = ordinal
        if <int32_t>cydriver.cuDeviceGet(&handle, ordinal) != SUCCESS:
            raise ValueError(f"no device {ordinal}")
        if <int32_t>cydriver.cuMemGetAllocationGranularity(
                &granule, &prop,
                cydriver.CUmemAllocationGranularity_flags_enum.CU_MEM_ALLOC_GRANULARITY_MINIMUM) != SUCCESS:
            raise ValueError(f"device {ordinal} has no virtual memory management")
        cydriver.cuDevicePrimaryCtxSetFlags(handle, CTX_BLOCKING_SYNC)
        made.append((handle, base, size, max(granule, 2 << 20)))
    return made
