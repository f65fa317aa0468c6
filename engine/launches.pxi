# Kernel launches and occupancy.

cdef enum:
    MAX_ATTRIBUTES = 16

cdef extern from * nogil:
    """
    /* Launch attributes that carry values only; others hold handles or addresses of the program. */
    static int plain_attribute(unsigned id) {
      return id <= 6 || (id >= 8 && id <= 11) || id == 14 || id == 16;
    }
    """
    bint plain_attribute(unsigned int id)


cdef int32_t attributes_of(const uint8_t *data, uint32_t size, uint32_t count) noexcept nogil:
    """Checks count launch attributes at data."""
    cdef const cydriver.CUlaunchAttribute *attribute = <const cydriver.CUlaunchAttribute *>data
    cdef uint32_t i
    if count > MAX_ATTRIBUTES or size < count * sizeof(cydriver.CUlaunchAttribute):
        return RM_BAD_RECORD
    for i in range(count):
        if not plain_attribute(<unsigned int>attribute[i].id):
            return NOT_SUPPORTED
    return SUCCESS


cdef int32_t h_launch(Session *s, Call *c, const rm_q_launch *q) noexcept nogil:
    cdef Function *function = <Function *>table_get(&s.functions, q.function)
    cdef uint32_t skip = q.attr_count * <uint32_t>sizeof(cydriver.CUlaunchAttribute)
    cdef Target t
    cdef int32_t status = attributes_of(c.bytes, c.byte_count, q.attr_count)
    if status == SUCCESS and q.param_bytes > c.byte_count - skip:
        status = RM_BAD_RECORD
    if status == SUCCESS and function == NULL:
        status = INVALID_HANDLE
    if status == SUCCESS and q.param_bytes < function.param_bytes:
        status = INVALID_VALUE
    if status == SUCCESS:
        status = target_of(s, c, q.stream, &t)
    if status != SUCCESS:
        return status
    printed_expect()
    return launch(function, q, c.bytes, c.bytes + skip, t.stream)


cdef int32_t launch(Function *function, const rm_q_launch *q, const uint8_t *attributes, const uint8_t *parameters,
                    CUstream stream) noexcept nogil:
    cdef size_t size = q.param_bytes
    cdef void *extra[5]
    cdef void **given = extra if size else NULL
    extra[0] = <void *>1  # CU_LAUNCH_PARAM_BUFFER_POINTER
    extra[1] = <void *>parameters
    extra[2] = <void *>2  # CU_LAUNCH_PARAM_BUFFER_SIZE
    extra[3] = &size
    extra[4] = NULL       # CU_LAUNCH_PARAM_END
    if q.attr_count or q.flags:
        return launch_with(function, q, attributes, given, stream)
    return <int32_t>cydriver.cuLaunchKernel(
        function.handle, q.grid_x, q.grid_y, q.grid_z, q.block_x, q.block_y, q.block_z, q.shared, stream, NULL, given)


cdef int32_t launch_with(Function *function, const rm_q_launch *q, const uint8_t *attributes, void **extra,
                         CUstream stream) noexcept nogil:
    """A launch with attributes; flags 1 = cooperative."""
    cdef cydriver.CUlaunchAttribute all[MAX_ATTRIBUTES + 1]
    cdef cydriver.CUlaunchConfig config
    memset(&config, 0, sizeof(config))
    memset(&all[q.attr_count], 0, sizeof(all[0]))
    memcpy(all, attributes, q.attr_count * sizeof(all[0]))
    all[q.attr_count].id = cydriver.CUlaunchAttributeID_enum.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
    all[q.attr_count].value.cooperative = 1
    config.gridDimX = q.grid_x
    config.gridDimY = q.grid_y
    config.gridDimZ = q.grid_z
    config.blockDimX = q.block_x
    config.blockDimY = q.block_y
    config.blockDimZ = q.block_z
    config.sharedMemBytes = q.shared
    config.hStream = stream
    config.attrs = all
    config.numAttrs = q.attr_count + (1 if q.flags & 1 and not cooperative(all, q.attr_count) else 0)
    return <int32_t>cydriver.cuLaunchKernelEx(&config, function.handle, NULL, extra)


cdef bint cooperative(const cydriver.CUlaunchAttribute *attributes, uint32_t count) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if attributes[i].id == cydriver.CUlaunchAttributeID_enum.CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
            return True
    return False


cdef int32_t h_tensor_map_tiled(
        Session *s, Call *c, const rm_q_tensor_map_tiled *q, rm_a_tensor_map_tiled *a) noexcept nogil:
    """A descriptor of tiles for the device's copy engine, which kernels take as a parameter."""
    cdef cydriver.CUtensorMap made
    cdef int32_t status = INVALID_VALUE
    if 1 <= q.rank <= 5:
        status = check_range(s, q.address, 1)
    if status == SUCCESS:
        status = <int32_t>cydriver.cuTensorMapEncodeTiled(
            &made, <cydriver.CUtensorMapDataType>q.type, q.rank, <void *>q.address, <cydriver.cuuint64_t *>q.dims,
            <cydriver.cuuint64_t *>q.strides, <cydriver.cuuint32_t *>q.box, <cydriver.cuuint32_t *>q.steps,
            <cydriver.CUtensorMapInterleave>q.interleave, <cydriver.CUtensorMapSwizzle>q.swizzle,
            <cydriver.CUtensorMapL2promotion>q.promotion, <cydriver.CUtensorMapFloatOOBfill>q.fill)
    if status == SUCCESS:
        memcpy(a.map, &made, sizeof(a.map))
    return status


cdef int32_t h_occupancy_clusters(
        Session *s, Call *c, const rm_q_occupancy_clusters *q, rm_a_occupancy_clusters *a) noexcept nogil:
    """what 0: cuOccupancyMaxActiveClusters, 1: cuOccupancyMaxPotentialClusterSize."""
    cdef Function *function = <Function *>table_get(&s.functions, q.function)
    cdef cydriver.CUlaunchConfig config
    cdef int32_t status = attributes_of(c.bytes, c.byte_count, q.attr_count)
    if status != SUCCESS or function == NULL:
        return status if status != SUCCESS else INVALID_HANDLE
    memset(&config, 0, sizeof(config))
    config.gridDimX = q.grid[0]
    config.gridDimY = q.grid[1]
    config.gridDimZ = q.grid[2]
    config.blockDimX = q.block[0]
    config.blockDimY = q.block[1]
    config.blockDimZ = q.block[2]
    config.sharedMemBytes = q.shared
    config.attrs = <cydriver.CUlaunchAttribute *>c.bytes
    config.numAttrs = q.attr_count
    if q.what == 0:
        return <int32_t>cydriver.cuOccupancyMaxActiveClusters(<int *>&a.value, function.handle, &config)
    return <int32_t>cydriver.cuOccupancyMaxPotentialClusterSize(<int *>&a.value, function.handle, &config)
