# Device memory that the CPU does not see, known to the network card all the same: the driver hands it out as a
# dma-buf, which the link registers (rm_register_dmabuf). Bulk messages then go from and to it with no CPU and no
# staging. Sources: the CUDA driver API's cuMemGetHandleForAddressRange and its GPUDirect RDMA attributes.

cdef extern from *:
    """
    #include <errno.h>
    #include <unistd.h>
    """
    int EOPNOTSUPP
    int close_descriptor "close"(int fd) nogil


cdef enum:
    TO_OWNER = 100        # CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER
    TO_ALL_DEVICES = 200  # CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_ALL_DEVICES


cdef int32_t device_attribute(CUdevice device, cydriver.CUdevice_attribute_enum which) noexcept nogil:
    """0 where the driver doesn't know it."""
    cdef int value = 0
    if <int32_t>cydriver.cuDeviceGetAttribute(&value, which, device) != SUCCESS:
        return 0
    return value


cdef bint dmabuf_offered(Session *s, CUdevice device) noexcept nogil:
    """Whether memory of cuMemCreate can be handed out, and what a card wrote there can be made to be seen."""
    if not device_attribute(device, cydriver.CUdevice_attribute_enum.CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED):
        return False
    if not device_attribute(device,
                            cydriver.CUdevice_attribute_enum.CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED):
        return False
    return writes_ordering(device) >= seen_by(s) or (
        device_attribute(device, cydriver.CUdevice_attribute_enum.CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS)
        & cydriver.CUflushGPUDirectRDMAWritesOptions_enum.CU_FLUSH_GPU_DIRECT_RDMA_WRITES_OPTION_HOST)


cdef int32_t seen_by(Session *s) noexcept nogil:
    """Who has to see what a card writes: with several devices any may use another's memory next."""
    return TO_OWNER if s.device_count == 1 else TO_ALL_DEVICES


cdef int32_t writes_ordering(CUdevice device) noexcept nogil:
    """Who sees, in work that starts after a card has written, what it wrote: TO_OWNER, TO_ALL_DEVICES or nobody (0).

    The driver numbers orderings and the scopes of a flush alike.
    """
    return device_attribute(
        device, cydriver.CUdevice_attribute_enum.CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WRITES_ORDERING)


cdef int dmabuf_register(Device *device, uint64_t at, uint64_t size) noexcept nogil:
    """0 or -errno. The registration keeps the memory; the descriptor is not needed any more."""
    cdef int fd = -1
    cdef int error
    if <int32_t>cydriver.cuMemGetHandleForAddressRange(
            &fd, <CUdeviceptr>at, size,
            cydriver.CUmemRangeHandleType_enum.CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0) != SUCCESS:
        return -EOPNOTSUPP
    error = rm_register_dmabuf(device.channel, at, size, fd, 0)
    close_descriptor(fd)
    return error


cdef void dmabuf_open(Session *s) noexcept nogil:
    """Devices whose memory the link may use get the channel; the others' copies are staged, which is said once."""
    cdef uint32_t i
    if not rm_takes_dmabuf(s.channel):
        return
    for i in range(s.device_count):
        if dmabuf_offered(s, s.devices[i].handle):
            s.devices[i].channel = s.channel
        elif not s.devices[0].refused:
            s.devices[0].refused = True
            with gil:
                log_failure(NOT_REGISTERED, "its driver offers no dma-buf")


cdef bint moves_alone(Session *s, uint64_t at, uint64_t size) noexcept nogil:
    """Whether the network card moves these bytes in messages of RM_BULK_MAX and one with the rest."""
    cdef Device *device = device_at(s, at)
    cdef uint64_t part
    cdef bint alone = device != NULL and device.channel != NULL
    while alone and size:
        part = size if size < RM_BULK_MAX else RM_BULK_MAX
        alone = rm_moves_alone(s.channel, at, part)
        at += part
        size -= part
    return alone


cdef int32_t make_seen(Session *s, Device *device, uint16_t ctx) noexcept nogil:
    """What a card has written into a device's memory is there for work that starts from now on.

    A flush is of the current context's device, which need not be the memory's: a stream of one device may copy to
    another's. Afterwards ctx is current.
    """
    cdef uint32_t index = device_index(s, device)
    cdef Context *context = NULL
    cdef int32_t status
    cdef int32_t back
    if s.visible != NULL or writes_ordering(device.handle) >= seen_by(s):
        return SUCCESS
    status = enter(s, ctx, &context)
    if status == SUCCESS and context.device != index:
        status = enter(s, index + 1, &context)
    if status == SUCCESS:
        status = <int32_t>cydriver.cuFlushGPUDirectRDMAWrites(
            cydriver.CUflushGPUDirectRDMAWritesTarget_enum.CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX,
            <cydriver.CUflushGPUDirectRDMAWritesScope_enum>seen_by(s))
    back = enter(s, ctx, &context)
    return status if status != SUCCESS else back
