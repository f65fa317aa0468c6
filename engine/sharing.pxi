# Memory that a client on this host may reach itself, so that what it copies is copied once: device memory that is
# a file's, and staging. The client may write all of it at any time; nothing of it is trusted but as payload.


cdef void device_share(Device *device, uint64_t at, uint64_t size) noexcept nogil:
    cdef Session *s = device.session
    cdef uint64_t offset = 0
    cdef int file
    if s.visible == NULL or s.visible.bytes < sizeof(sg_visible):
        return
    file = s.visible.file(<const void *>at, size, &offset)
    if file >= 0:
        rm_share(s.channel, <void *>at, size, file, offset)


cdef void device_unshare(Device *device, uint64_t at, uint64_t size) noexcept nogil:
    if device.session.visible != NULL:
        rm_share(device.session.channel, <void *>at, size, -1, 0)
