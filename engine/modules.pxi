# Modules and libraries, loaded from images by content hash; their kernels and globals, found by name.

cdef enum:
    NAME_MAX = 65536
    LISTED_MAX = 16      # functions told with a load: to read a function's attributes, the driver loads its code
    LIST_BYTES = 65000   # of a list of functions: one record holds it
    KIND_LIBRARY = 1
    LINKED = 1           # module_load.flags: fat binaries one after another, the linked one first
    LINKED_MAX = 1024    # of them
    FATBIN = 0xBA55ED50
    WRAPPER = 0x466243B1


cdef struct FatbinHeader:
    uint32_t magic
    uint16_t version
    uint16_t header_bytes
    uint64_t size


cdef struct LinkedImage:  # what nvcc's own wrapper of version 2 looks like
    uint32_t magic
    uint32_t version
    const void *first
    const void **rest     # NULL-terminated
    const void *parts[LINKED_MAX + 1]


cdef int32_t linked_image(const void *image, uint64_t size, LinkedImage **out) noexcept nogil:
    """A wrapper around the fat binaries of an image; the caller frees it."""
    cdef const uint8_t *data = <const uint8_t *>image
    cdef LinkedImage *made = <LinkedImage *>calloc(1, sizeof(LinkedImage))
    cdef const FatbinHeader *header
    cdef uint64_t at = 0
    cdef uint32_t count = 0
    if made == NULL:
        return OUT_OF_MEMORY
    while at < size:
        header = <const FatbinHeader *>(data + at)
        if size - at < sizeof(FatbinHeader) or header.magic != FATBIN or count > LINKED_MAX:
            break
        if header.size > size or header.header_bytes + header.size > size - at:
            break
        if count == 0:
            made.first = header
        elif count <= LINKED_MAX:
            made.parts[count - 1] = header
        count += 1
        at += (header.header_bytes + header.size + 7) & ~<uint64_t>7
    if at < size or count == 0 or count > LINKED_MAX:
        free(made)
        return INVALID_IMAGE
    made.magic = WRAPPER
    made.version = 2
    made.rest = made.parts
    out[0] = made
    return SUCCESS


cdef int32_t find_module(Session *s, const Call *c, uint64_t id, CUmodule *out) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, id)
    if module == NULL or module.module == NULL:
        return INVALID_HANDLE
    out[0] = module.module
    return SUCCESS


cdef int32_t find_library(Session *s, const Call *c, uint64_t id, CUlibrary *out) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, id)
    if module == NULL or module.library == NULL:
        return INVALID_HANDLE
    out[0] = module.library
    return SUCCESS


cdef int32_t find_kernel(Session *s, const Call *c, uint64_t id, CUfunction *out) noexcept nogil:
    cdef Function *function = <Function *>table_get(&s.functions, id)
    if function == NULL:
        return INVALID_HANDLE
    out[0] = function.handle
    return SUCCESS


cdef int32_t h_image_data(Session *s, Call *c, const rm_q_image_data *q) noexcept nogil:
    """A part of an image that the client is about to load."""
    cdef const uint8_t *data = NULL
    cdef Piece *piece = NULL
    cdef int32_t status = payload(s, c, q.bytes, &data, &piece)
    if status == SUCCESS:
        status = store_part(s, q, data)
    if piece != NULL:
        staging_put(&s.staging, piece)
    return status


cdef int32_t store_part(Session *s, const rm_q_image_data *q, const uint8_t *data) noexcept with gil:
    try:
        key = (<const char *>q.hash)[:32]
        return (<object>s.images).add(key, q.size, q.offset, <const uint8_t[:q.bytes]>data if q.bytes else b"")
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception as error:
        log_failure("image", error)
        return INVALID_VALUE


cdef int32_t h_module_load(Session *s, Call *c, const rm_q_module_load *q, rm_a_module_load *a) noexcept nogil:
    """have = 0: the image isn't here, the client sends it and asks again."""
    cdef const void *image = NULL
    cdef int32_t status = find_image(s, q, &image)
    if status == NOT_FOUND:
        return SUCCESS
    if status == SUCCESS:
        a.have = 1
        status = module_make(s, c, q, image, a)
        drop_image(s, q)
    return status


cdef int32_t find_image(Session *s, const rm_q_module_load *q, const void **image) noexcept with gil:
    """Looks the image up by hash, and keeps it until drop_image. NOT_FOUND: it isn't here."""
    cdef uint64_t address
    try:
        address = (<object>s.images).open((<const char *>q.hash)[:32], q.size)
        image[0] = <const void *>address
        return SUCCESS if address else NOT_FOUND
    except ValueError:
        return INVALID_IMAGE
    except Exception as error:
        log_failure("image", error)
        return OUT_OF_MEMORY


cdef void drop_image(Session *s, const rm_q_module_load *q) noexcept with gil:
    (<object>s.images).close((<const char *>q.hash)[:32])


cdef int32_t module_make(
        Session *s, Call *c, const rm_q_module_load *q, const void *image, rm_a_module_load *a) noexcept nogil:
    cdef Module *module = <Module *>calloc(1, sizeof(Module))
    cdef LinkedImage *linked = NULL
    cdef int32_t status = SUCCESS
    if module == NULL:
        return OUT_OF_MEMORY
    module.ctx = c.record.ctx
    if q.flags & LINKED:
        status = linked_image(image, q.size, &linked)
        image = linked
    if status != SUCCESS:
        pass
    elif q.kind == KIND_LIBRARY:
        status = <int32_t>cydriver.cuLibraryLoadData(&module.library, image, NULL, NULL, 0, NULL, NULL, 0)
    else:
        status = <int32_t>cydriver.cuModuleLoadData(&module.module, image)
    free(linked)
    if status == SUCCESS:
        list_functions(s, c, module, LISTED_MAX, &a.count)
        if not table_put(&s.modules, q.module, module):
            module_close(module)
            status = INVALID_HANDLE
    if status != SUCCESS:
        free(module.functions)
        free(module)
    return status


cdef int32_t module_close(Module *module) noexcept nogil:
    if module.library != NULL:
        return <int32_t>cydriver.cuLibraryUnload(module.library)
    return <int32_t>cydriver.cuModuleUnload(module.module)


cdef int32_t h_module_unload(Session *s, Call *c, const rm_q_module_unload *q) noexcept nogil:
    cdef Module *module = <Module *>table_take(&s.modules, q.module)
    if module == NULL:
        return INVALID_HANDLE
    return module_drop(s, module)


cdef int32_t module_drop(Session *s, Module *module) noexcept nogil:
    cdef uint64_t id = table_next(&s.functions, 1)
    cdef int32_t status
    while id < TABLE_LIMIT:
        if (<Function *>table_get(&s.functions, id)).owner == module:
            free(table_take(&s.functions, id))
        id = table_next(&s.functions, id + 1)
    forget_globals(s, module)
    status = module_close(module)
    free(module.functions)
    free(module)
    return status


cdef void drop_modules(Session *s, Context *context) noexcept nogil:
    cdef uint64_t id = table_next(&s.modules, 1)
    cdef Module *module
    while id < TABLE_LIMIT:
        module = <Module *>table_get(&s.modules, id)
        if module.ctx == context.id and module.module != NULL:
            module_drop(s, <Module *>table_take(&s.modules, id))
        id = table_next(&s.modules, id + 1)


cdef int32_t name_of(Call *c, char **out) noexcept nogil:
    """The name that follows the record, as a C string of the caller's."""
    if c.byte_count == 0 or c.byte_count > NAME_MAX:
        return INVALID_VALUE
    out[0] = <char *>malloc(c.byte_count + 1)
    if out[0] == NULL:
        return OUT_OF_MEMORY
    memcpy(out[0], c.bytes, c.byte_count)
    out[0][c.byte_count] = 0
    return SUCCESS


cdef int32_t h_function_get(Session *s, Call *c, const rm_q_function_get *q, rm_a_function_get *a) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, q.module)
    cdef Function found
    cdef char *name = NULL
    cdef int32_t status
    if module == NULL:
        return INVALID_HANDLE
    status = name_of(c, &name)
    if status != SUCCESS:
        return status
    status = function_find(module, name, &found)
    free(name)
    if status == SUCCESS:
        read_params(&found, <rm_s_param *>(c.answer + c.answer_bytes),
                    (c.answer_room - c.answer_bytes) // sizeof(rm_s_param))
        read_attributes(s, c, &found, a.attributes)
        a.param_count = found.param_count
        c.answer_bytes += found.param_count * <uint32_t>sizeof(rm_s_param)
        a.index = module.count
        status = function_keep(module, &found)
    if status == SUCCESS:
        status = function_name(s, q.function, &found)
    return status


cdef int32_t function_find(Module *module, const char *name, Function *out) noexcept nogil:
    cdef int32_t status
    memset(out, 0, sizeof(Function))
    out.owner = module
    if module.library == NULL:
        return <int32_t>cydriver.cuModuleGetFunction(&out.handle, module.module, name)
    status = <int32_t>cydriver.cuLibraryGetKernel(&out.kernel, module.library, name)
    out.handle = <CUfunction><void *>out.kernel
    return status


cdef int32_t functions_of(Module *module, uint32_t most, CUfunction **out, uint32_t *count) noexcept nogil:
    """All functions of a module, in memory of the caller's; none when there are more than most."""
    cdef unsigned int there = 0
    cdef int32_t status
    if module.library != NULL:
        status = <int32_t>cydriver.cuLibraryGetKernelCount(&there, module.library)
    else:
        status = <int32_t>cydriver.cuModuleGetFunctionCount(&there, module.module)
    if status != SUCCESS or there == 0 or there > most:
        return status
    out[0] = <CUfunction *>calloc(there, sizeof(CUfunction))
    if out[0] == NULL:
        return OUT_OF_MEMORY
    count[0] = there
    if module.library != NULL:
        return <int32_t>cydriver.cuLibraryEnumerateKernels(<CUkernel *><void *>out[0], there, module.library)
    return <int32_t>cydriver.cuModuleEnumerateFunctions(out[0], there, module.module)


cdef int32_t list_functions(Session *s, Call *c, Module *module, uint32_t most, uint32_t *listed) noexcept nogil:
    """Appends all functions to the answer, or none: too many of them, or too much to say."""
    cdef CUfunction *found = NULL
    cdef Function function
    cdef uint32_t count = 0
    cdef uint32_t start = c.answer_bytes
    cdef uint32_t kept = module.count
    cdef uint32_t i
    cdef int32_t status = functions_of(module, most, &found, &count)
    for i in range(count):
        if status != SUCCESS:
            break
        memset(&function, 0, sizeof(function))
        function.owner = module
        function.handle = found[i]
        if module.library != NULL:
            function.kernel = <CUkernel><void *>found[i]
        status = list_function(s, c, module, &function)
    free(found)
    listed[0] = count if status == SUCCESS else 0
    if status != SUCCESS:
        c.answer_bytes = start
        module.count = kept
    return status


cdef int32_t list_function(Session *s, Call *c, Module *module, Function *function) noexcept nogil:
    cdef rm_s_function *entry = <rm_s_function *>(c.answer + c.answer_bytes)
    cdef rm_s_param *params = <rm_s_param *>(entry + 1)
    cdef const char *name = NULL
    cdef size_t left = LIST_BYTES - c.answer_bytes if c.answer_bytes < LIST_BYTES else 0
    cdef size_t used
    cdef int32_t status
    if left < sizeof(rm_s_function):
        return OUT_OF_MEMORY
    if function.kernel != NULL:
        status = <int32_t>cydriver.cuKernelGetName(&name, function.kernel)
    else:
        status = <int32_t>cydriver.cuFuncGetName(&name, function.handle)
    if status != SUCCESS or name == NULL:
        return status if status != SUCCESS else NOT_FOUND
    read_params(function, params, (left - sizeof(rm_s_function)) // sizeof(rm_s_param))
    used = sizeof(rm_s_function) + function.param_count * sizeof(rm_s_param)
    if strlen(name) + 8 > left - used:
        return OUT_OF_MEMORY
    entry.name_bytes = <uint32_t>strlen(name)
    entry.param_count = function.param_count
    entry.index = module.count
    entry.bytes = <uint32_t>((used + entry.name_bytes + 7) & ~<size_t>7)
    memcpy(<uint8_t *>entry + used, name, entry.name_bytes)
    memset(<uint8_t *>entry + used + entry.name_bytes, 0, entry.bytes - used - entry.name_bytes)
    read_attributes(s, c, function, entry.attributes)
    c.answer_bytes += entry.bytes
    return function_keep(module, function)


cdef int32_t h_module_list(Session *s, Call *c, const rm_q_module_list *q, rm_a_module_list *a) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, q.module)
    cdef int32_t status
    if module == NULL:
        return INVALID_HANDLE
    status = list_functions(s, c, module, LIST_BYTES // sizeof(rm_s_function), &a.count)
    return NOT_SUPPORTED if status == OUT_OF_MEMORY else status


cdef int32_t param_of(Function *function, size_t index, size_t *offset, size_t *size) noexcept nogil:
    if function.kernel != NULL:
        return <int32_t>cydriver.cuKernelGetParamInfo(function.kernel, index, offset, size)
    return <int32_t>cydriver.cuFuncGetParamInfo(function.handle, index, offset, size)


cdef void read_params(Function *function, rm_s_param *params, size_t room) noexcept nogil:
    """Parameter layout; it ends with the first index that the driver refuses."""
    cdef size_t offset = 0
    cdef size_t size = 0
    while function.param_count < room and param_of(function, function.param_count, &offset, &size) == SUCCESS:
        params[function.param_count].offset = <uint32_t>offset
        params[function.param_count].size = <uint32_t>size
        function.param_count += 1
        if offset + size > function.param_bytes:
            function.param_bytes = <uint32_t>(offset + size)


cdef void read_attributes(Session *s, Call *c, Function *function, int32_t *out) noexcept nogil:
    """By CUfunction_attribute; with the layout, all that the client needs to answer for the function by itself."""
    cdef Context *context = NULL
    cdef CUdevice device = s.devices[0].handle
    cdef int i
    if c.record.ctx and context_get(s, c.record.ctx, &context) == SUCCESS:
        device = s.devices[context.device].handle
    for i in range(16):
        out[i] = 0
        if function.kernel != NULL:
            cydriver.cuKernelGetAttribute(<int *>out + i, <cydriver.CUfunction_attribute>i, function.kernel, device)
        else:
            cydriver.cuFuncGetAttribute(<int *>out + i, <cydriver.CUfunction_attribute>i, function.handle)


cdef int32_t function_keep(Module *module, Function *function) noexcept nogil:
    """Gives the function an index in its module, for function_bind."""
    cdef Function *more
    if module.count == module.room:
        more = <Function *>realloc(module.functions, (module.room * 2 + 16) * sizeof(Function))
        if more == NULL:
            return OUT_OF_MEMORY
        module.functions = more
        module.room = module.room * 2 + 16
    module.functions[module.count] = function[0]
    module.count += 1
    return SUCCESS


cdef int32_t function_name(Session *s, uint64_t id, Function *function) noexcept nogil:
    """Names a copy of the function by the client's id."""
    cdef Function *named = <Function *>malloc(sizeof(Function))
    if named == NULL:
        return OUT_OF_MEMORY
    named[0] = function[0]
    if table_put(&s.functions, id, named):
        return SUCCESS
    free(named)
    return INVALID_HANDLE


cdef int32_t h_function_bind(Session *s, Call *c, const rm_q_function_bind *q) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, q.module)
    if module == NULL or q.index >= module.count:
        return INVALID_HANDLE
    return function_name(s, q.function, &module.functions[q.index])


cdef int32_t h_function_set(Session *s, Call *c, const rm_q_function_set *q) noexcept nogil:
    cdef Function *function = <Function *>table_get(&s.functions, q.function)
    cdef Context *context = NULL
    cdef int32_t status = context_get(s, c.record.ctx, &context)
    if function == NULL:
        return INVALID_HANDLE
    if status != SUCCESS or function.kernel == NULL:
        return status if status != SUCCESS else <int32_t>cydriver.cuFuncSetAttribute(
            function.handle, <cydriver.CUfunction_attribute>q.attribute, q.value)
    return <int32_t>cydriver.cuKernelSetAttribute(
        <cydriver.CUfunction_attribute>q.attribute, q.value, function.kernel, s.devices[context.device].handle)


cdef int32_t h_global_get(Session *s, Call *c, const rm_q_global_get *q, rm_a_global_get *a) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, q.module)
    cdef CUdeviceptr ptr = 0
    cdef size_t size = 0
    cdef char *name = NULL
    cdef int32_t status
    if module == NULL:
        return INVALID_HANDLE
    status = name_of(c, &name)
    if status != SUCCESS:
        return status
    if module.library != NULL:
        status = <int32_t>cydriver.cuLibraryGetGlobal(&ptr, &size, module.library, name)
    else:
        status = <int32_t>cydriver.cuModuleGetGlobal(&ptr, &size, module.module, name)
    free(name)
    a.ptr = <uint64_t>ptr
    a.bytes = size
    return remember_global(s, module, a.ptr, size) if status == SUCCESS else status


cdef int32_t h_managed_get(Session *s, Call *c, const rm_q_managed_get *q, rm_a_managed_get *a) noexcept nogil:
    cdef Module *module = <Module *>table_get(&s.modules, q.module)
    cdef CUdeviceptr ptr = 0
    cdef size_t size = 0
    cdef char *name = NULL
    cdef int32_t status
    if module == NULL or module.library == NULL:
        return INVALID_HANDLE
    status = name_of(c, &name)
    if status != SUCCESS:
        return status
    status = <int32_t>cydriver.cuLibraryGetManaged(&ptr, &size, module.library, name)
    free(name)
    a.ptr = <uint64_t>ptr
    a.bytes = size
    return remember_global(s, module, a.ptr, size) if status == SUCCESS else status


cdef int32_t remember_global(Session *s, Module *module, uint64_t at, uint64_t size) noexcept nogil:
    cdef Range *more
    cdef int32_t status = SUCCESS
    if global_range(s, at, size) == SUCCESS:
        return SUCCESS
    pthread_mutex_lock(&s.make_lock)
    if s.global_count == s.global_room:
        more = <Range *>realloc(s.globals, (s.global_room * 2 + 16) * sizeof(Range))
        status = SUCCESS if more != NULL else OUT_OF_MEMORY
        if more != NULL:
            s.globals = more
            s.global_room = s.global_room * 2 + 16
    if status == SUCCESS:
        s.globals[s.global_count].at = at
        s.globals[s.global_count].bytes = size
        s.globals[s.global_count].owner = module
        s.global_count += 1
    pthread_mutex_unlock(&s.make_lock)
    return status


cdef void forget_globals(Session *s, Module *module) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t kept = 0
    pthread_mutex_lock(&s.make_lock)
    for i in range(s.global_count):
        if s.globals[i].owner != module:
            s.globals[kept] = s.globals[i]
            kept += 1
    s.global_count = kept
    pthread_mutex_unlock(&s.make_lock)
