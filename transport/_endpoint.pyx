# whole folders: transport transport/endpoint
# cython: language_level=3
"""Endpoint, Buffer and Transfer for Python over endpoint/endpoint.h. Waits and transfers run without the GIL.

Must not know: how two processes found each other (opening.py).
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os
import threading
import weakref

from . import errors
from .remote import RemoteBuffer

include "carrying.pxi"

cdef extern from "<errno.h>" nogil:
    int errno
    int EACCES, EBUSY, EINTR, EMSGSIZE, ENOMEM

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)

cdef extern from "<sys/mman.h>" nogil:
    int munmap(void *, size_t)

cdef extern from "Python.h":
    int PyErr_CheckSignals()  # without "except": its exception is to stay until the wait has returned

cdef extern from "transport/link.h" nogil:
    ctypedef struct rm_channel:
        pass
    ctypedef struct rm_options:
        uint32_t ring_bytes
        uint32_t bulk_window
        uint32_t silence_ms
        uint32_t spin_us
        bint service
        const char *peer
    ctypedef struct rm_events:
        pass
    ctypedef struct rm_traffic:
        uint64_t records_sent
        uint64_t records_received
        uint64_t bytes_sent
        uint64_t bytes_received
        uint64_t bulk_sent
        uint64_t bulk_received
        uint64_t sends
        uint64_t recvs
        uint64_t waits
        uint64_t credit_waits
        uint64_t bulk_copied
        uint64_t bulk_direct
    int RM_EPROTO
    int RM_ETIMEOUT
    rm_channel *rm_channel_over(rm_link *link, const rm_options *options, const rm_events *events, void *user)
    int rm_channel_error(rm_channel *ch, const char **why)
    void rm_channel_stats(rm_channel *ch, rm_traffic *out)

cdef extern from "transport/endpoint/endpoint.h" nogil:
    ctypedef struct rm_endpoint:
        pass
    ctypedef struct rm_limits:
        uint64_t message_max
        uint64_t window
    ctypedef struct rm_piece:
        const void *bytes
        size_t n
    ctypedef struct rm_message:
        rm_message *next
        size_t n
        uint8_t *bytes
    ctypedef struct rm_transfer:
        uint32_t kind
        uint64_t key
        uint64_t offset
        uint8_t *local
        size_t n
        int32_t status
    int RM_TRANSFER_WRITE
    int RM_TRANSFER_READ
    int RM_REMOTE_READ
    int RM_REMOTE_WRITE
    const rm_events rm_endpoint_events
    uint64_t rm_deadline_after(double seconds)
    uint64_t rm_least_window(uint64_t message_max)
    rm_endpoint *rm_endpoint_new(rm_limits mine, rm_limits theirs, uint32_t record_max)
    void rm_endpoint_interruptible(rm_endpoint *ep, int (*interrupted)() noexcept nogil)
    void rm_endpoint_opening(rm_endpoint *ep)
    void rm_endpoint_opened(rm_endpoint *ep, rm_channel *channel)
    rm_channel *rm_endpoint_channel(rm_endpoint *ep)
    void rm_endpoint_abandon(rm_endpoint *ep)
    void rm_endpoint_close(rm_endpoint *ep, int drain_ms)
    void rm_endpoint_quiesce(rm_endpoint *ep)
    void rm_endpoint_free(rm_endpoint *ep)
    int rm_endpoint_send(rm_endpoint *ep, const rm_piece *messages, size_t count, uint64_t deadline, size_t *sent)
    int rm_endpoint_receive(rm_endpoint *ep, size_t limit, uint64_t deadline, rm_message **list)
    void *rm_endpoint_allocate(rm_endpoint *ep, size_t n, unsigned access)
    void rm_endpoint_take_back(rm_endpoint *ep, void *at)
    int rm_endpoint_register(rm_endpoint *ep, void *base, size_t n, unsigned access, uint64_t *key)
    int rm_endpoint_unregister(rm_endpoint *ep, uint64_t key)
    int rm_transfer_start(rm_endpoint *ep, rm_transfer *t, uint64_t deadline)
    int rm_transfer_wait(rm_endpoint *ep, rm_transfer *t, uint64_t deadline)
    bint rm_transfer_done(rm_endpoint *ep, rm_transfer *t)


ACCESS = {"none": 0, "read": RM_REMOTE_READ, "write": RM_REMOTE_WRITE, "readwrite": RM_REMOTE_READ | RM_REMOTE_WRITE}


def least_window(message_max: int) -> int:
    """The smallest window, in bytes, for messages of up to message_max bytes."""
    return rm_least_window(message_max)


cdef extern from * nogil:
    """
    static __thread int in_handler; /* waits of this thread whose signal handlers run */
    """
    int in_handler


cdef int interrupted() noexcept with gil:
    global in_handler
    in_handler += 1
    cdef int raised = PyErr_CheckSignals()
    in_handler -= 1
    return raised != 0


ENDPOINTS = weakref.WeakSet()


def forget_all():
    """In a forked child: connections are the parent's."""
    cdef Endpoint endpoint
    for endpoint in list(ENDPOINTS):
        endpoint.forget()


os.register_at_fork(after_in_child=forget_all)


cdef double seconds_of(timeout) except? -2:
    """None: -1, which is for ever."""
    if timeout is None:
        return -1
    cdef double seconds = timeout
    if not seconds >= 0:
        raise ValueError(f"a timeout is in seconds, 0 or more, not {timeout!r}")
    return seconds


cdef Py_buffer *view_of(data, int flags) except NULL:
    """A view that the garbage collector does not see: it lives until it is released."""
    cdef Py_buffer *view = <Py_buffer *>calloc(1, sizeof(Py_buffer))
    if view == NULL:
        raise MemoryError
    try:
        PyObject_GetBuffer(data, view, flags)
    except BaseException:
        free(view)
        raise
    return view


cdef void release(Py_buffer *view) noexcept:
    if view != NULL:
        PyBuffer_Release(view)
        free(view)


@cython.no_gc_clear  # its transfers and buffers stay until its threads have ended
cdef class Endpoint:
    """One end of a connection; made by connect() and Listener.accept()."""
    cdef rm_endpoint *ep
    cdef int inside
    cdef bint closing
    cdef bint forgotten  # we are a forked child: nothing here is ours
    cdef dict under_way
    cdef dict registered
    cdef readonly str peer
    cdef readonly str transport
    cdef readonly object max_message
    cdef object __weakref__

    def __init__(self):
        raise TypeError("endpoints are made by connect() and Listener.accept()")

    def __dealloc__(self):
        if self.ep != NULL and not self.forgotten:
            with nogil:
                rm_endpoint_free(self.ep)

    # ---- inside

    cdef void end_now(self) noexcept:
        """Ends the connection and its threads: nothing lands in anybody's memory any more."""
        if self.ep != NULL and not self.forgotten:
            with nogil:
                rm_endpoint_quiesce(self.ep)

    cdef forget(self):
        """Releases descriptors, and touches nothing else: locks may be held by threads that are not here."""
        cdef Buffer buffer
        if not self.closing:
            rm_endpoint_abandon(self.ep)
        self.closing = self.forgotten = True
        self.inside = 0
        for buffer in self.registered.values():
            buffer.endpoint = None
        self.registered.clear()

    cdef int enter(self) except -1:
        if self.closing:
            raise errors.Disconnected(f"the connection to {self.peer} was closed on this side")
        self.inside += 1
        return 0

    cdef int fail(self, int code, timeout, int sent=0) except -1:
        """Raises what an error of endpoint.h means."""
        cdef const char *why = NULL
        if code == -EINTR:
            return -1  # the signal handler's exception is set
        if code == RM_ETIMEOUT:
            error = errors.DeadlineExceeded(f"{self.peer}: not within {timeout:g} s")
            error.sent = sent
            raise error
        if code == -EACCES:
            raise errors.AccessDenied(f"{self.peer} has no such buffer, or not for this")
        if code == -ENOMEM:
            raise MemoryError
        rm_channel_error(rm_endpoint_channel(self.ep), &why)
        text = why.decode(errors="replace") if why != NULL else os.strerror(-code)
        raise (errors.ProtocolError if code == RM_EPROTO else errors.Disconnected)(text)

    # ---- messages

    def send(self, message, timeout=None):
        self.send_many((message,), timeout)

    def send_many(self, messages, timeout=None):
        held = list(messages)
        cdef size_t count = len(held), sent = 0, i
        cdef int error = 0
        cdef double seconds = seconds_of(timeout)
        cdef Py_buffer *views = <Py_buffer *>calloc(count + 1, sizeof(Py_buffer))
        cdef rm_piece *pieces = <rm_piece *>calloc(count + 1, sizeof(rm_piece))
        cdef size_t viewed = 0
        try:
            if views == NULL or pieces == NULL:
                raise MemoryError
            for message in held:
                PyObject_GetBuffer(message, &views[viewed], PyBUF_SIMPLE)
                pieces[viewed].bytes, pieces[viewed].n = views[viewed].buf, views[viewed].len
                viewed += 1
                if pieces[viewed - 1].n > self.max_message:
                    raise errors.MessageTooLarge(
                        f"a message of {pieces[viewed - 1].n} bytes: {self.peer} takes up to "
                        f"{self.max_message}; write it into a registered buffer"
                    )
            self.enter()
            try:
                with nogil:
                    error = rm_endpoint_send(self.ep, pieces, count, rm_deadline_after(seconds), &sent)
                if error:
                    self.fail(error, timeout, sent)
            finally:
                self.inside -= 1
        finally:
            for i in range(viewed):
                PyBuffer_Release(&views[i])
            free(views)
            free(pieces)

    def receive(self, timeout=None):
        return self.receive_many(1, timeout)[0]

    def receive_many(self, limit=1024, timeout=None):
        if limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        cdef size_t most = limit
        cdef double seconds = seconds_of(timeout)
        cdef rm_message *one = NULL
        cdef rm_message *next
        cdef int error
        found = []
        self.enter()
        try:
            with nogil:
                error = rm_endpoint_receive(self.ep, most, rm_deadline_after(seconds), &one)
            if error:
                self.fail(error, timeout)
        finally:
            self.inside -= 1
            while one != NULL:
                next = one.next
                found.append((<char *>one.bytes)[:one.n])
                free(one)
                one = next
        return found

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.receive()
        except errors.ProtocolError:
            raise
        except errors.Disconnected:
            raise StopIteration from None

    # ---- buffers

    def allocate(self, nbytes, *, remote="readwrite"):
        return self.make_buffer(None, nbytes, remote)

    def register(self, memory, *, remote="readwrite"):
        return self.make_buffer(memory, 0, remote)

    cdef Buffer make_buffer(self, memory, nbytes, remote):
        if remote not in ACCESS:
            raise ValueError(f"remote is one of {', '.join(map(repr, ACCESS))}, not {remote!r}")
        cdef Buffer buffer = Buffer.__new__(Buffer)
        cdef unsigned access = ACCESS[remote]
        cdef int error
        self.enter()
        try:
            if memory is not None:
                buffer.take(memory, "write" in remote)
            else:
                buffer.make(self, nbytes, access)
            with nogil:
                error = rm_endpoint_register(self.ep, buffer.base, buffer.nbytes, access, &buffer.key)
                if error and memory is None:
                    rm_endpoint_take_back(self.ep, buffer.base)
            if error:
                raise MemoryError
        finally:
            self.inside -= 1
        buffer.endpoint = self
        buffer.handle = RemoteBuffer(buffer.key, buffer.nbytes, "read" in remote, "write" in remote)
        self.registered[buffer.key] = buffer
        return buffer

    # ---- transfers

    def write(self, remote, data, offset=0, timeout=None):
        self.start_write(remote, data, offset, timeout).wait(timeout)

    def read(self, remote, into, offset=0, timeout=None):
        self.start_read(remote, into, offset, timeout).wait(timeout)

    def start_write(self, remote, data, offset=0, timeout=None):
        return self.start(RM_TRANSFER_WRITE, remote, view_of(data, PyBUF_SIMPLE), offset, timeout)

    def start_read(self, remote, into, offset=0, timeout=None):
        return self.start(RM_TRANSFER_READ, remote, view_of(into, PyBUF_WRITABLE), offset, timeout)

    cdef Transfer start(self, int kind, remote, Py_buffer *view, offset, timeout):
        cdef Transfer transfer = Transfer.__new__(Transfer)
        transfer.view, transfer.endpoint, transfer.nbytes = view, self, view.len
        try:
            self.begin(transfer, kind, remote, offset, timeout)
        except BaseException:
            transfer.let_go()
            raise
        return transfer

    cdef begin(self, Transfer transfer, int kind, remote, offset, timeout):
        cdef Py_buffer *view = transfer.view
        if offset < 0 or offset + view.len > remote.nbytes:
            raise ValueError(
                f"{view.len} bytes at offset {offset} do not lie in a buffer of {remote.nbytes} bytes"
            )
        transfer.t.kind, transfer.t.key, transfer.t.offset = kind, remote.key, offset
        transfer.t.local, transfer.t.n = <uint8_t *>view.buf, view.len
        cdef double seconds = seconds_of(timeout)
        cdef int error
        self.reap()
        self.enter()
        try:
            self.under_way[id(transfer)] = transfer
            with nogil:
                error = rm_transfer_start(self.ep, &transfer.t, rm_deadline_after(seconds))
            if error:
                self.fail(error, timeout)
        finally:
            self.inside -= 1

    cdef reap(self):
        """Lets go of the memory of transfers that are over."""
        cdef Transfer transfer
        for transfer in list(self.under_way.values()):
            if transfer.over():
                transfer.let_go()

    # ---- the end

    @property
    def closed(self):
        return self.closing or rm_channel_error(rm_endpoint_channel(self.ep), NULL) != 0

    @property
    def stats(self):
        cdef rm_traffic traffic
        self.enter()
        try:
            rm_channel_stats(rm_endpoint_channel(self.ep), &traffic)
        finally:
            self.inside -= 1
        return traffic

    def close(self, timeout=1.0):
        cdef int drain_ms = int(1000 * seconds_of(timeout)) if timeout is not None else 1 << 30
        if self.closing or self.ep == NULL:
            return
        self.closing = True
        with nogil:
            rm_endpoint_close(self.ep, drain_ms)
        if in_handler:  # of a wait in this very thread, perhaps on this endpoint: it has to return first
            threading.Thread(target=self._finish, name="remora-close").start()
        else:
            self._finish()

    def _finish(self):
        cdef Buffer buffer
        cdef Transfer transfer
        while self.inside:
            with nogil:
                usleep(200)
        with nogil:
            rm_endpoint_quiesce(self.ep)
        for transfer in list(self.under_way.values()):
            transfer.let_go()
        for buffer in self.registered.values():
            buffer.endpoint = None
        self.registered.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        return f"<Endpoint to {self.peer} over {self.transport}{', closed' if self.closing else ''}>"


@cython.no_gc_clear  # it knows its endpoint until it goes
cdef class Buffer:
    """Memory that a peer can reach; made by Endpoint.allocate and Endpoint.register."""
    cdef Endpoint endpoint  # None: not registered any more
    cdef Py_buffer *view    # of the memory's owner; NULL: the memory is ours
    cdef uint8_t *base
    cdef uint64_t key
    cdef int exports
    cdef bint freed
    cdef Py_ssize_t shape[1]
    cdef readonly Py_ssize_t nbytes
    cdef readonly object handle
    cdef object __weakref__

    def __init__(self):
        raise TypeError("buffers are made by Endpoint.allocate() and Endpoint.register()")

    cdef take(self, memory, bint writable):
        self.view = view_of(memory, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.base, self.nbytes = <uint8_t *>self.view.buf, self.view.len

    cdef make(self, Endpoint endpoint, nbytes, unsigned access):
        if nbytes < 1:
            raise ValueError(f"a buffer has at least 1 byte, not {nbytes}")
        cdef size_t n = nbytes
        cdef void *made
        with nogil:
            made = rm_endpoint_allocate(endpoint.ep, n, access)
        if made == NULL:
            raise MemoryError(f"{nbytes} bytes")
        self.base, self.nbytes = <uint8_t *>made, n

    def __dealloc__(self):
        if self.endpoint is not None:  # the collector takes both, in any order
            self.endpoint.end_now()
        self.give_back()

    cdef void give_back(self) noexcept:
        if self.view != NULL:
            release(self.view)
        elif self.base != NULL:
            munmap(self.base, self.nbytes)
        self.view, self.base, self.freed = NULL, NULL, True

    def __getbuffer__(self, Py_buffer *view, int flags):
        if self.freed:
            raise ValueError("the buffer was closed")
        cdef bint fixed = self.view != NULL and self.view.readonly
        PyBuffer_FillInfo(view, self, self.base, self.nbytes, fixed, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1

    def __len__(self):
        return self.nbytes

    @property
    def closed(self):
        return self.freed

    def close(self):
        if self.freed:
            return
        if self.endpoint is not None:
            self.endpoint.reap()
        if self.exports:
            raise errors.BufferInUse(
                f"{self.exports} transfers, arrays or views still use the buffer of {self.nbytes} bytes"
            )
        if self.endpoint is not None:
            self.unregister()
        self.give_back()

    cdef unregister(self):
        cdef Endpoint endpoint = self.endpoint
        cdef int error
        if endpoint.closing:  # close() is under way in another thread
            raise errors.BufferInUse(f"the connection to {endpoint.peer} is just being closed")
        endpoint.inside += 1
        self.exports += 1  # another thread that closes it meanwhile is refused
        with nogil:
            error = rm_endpoint_unregister(endpoint.ep, self.key)
            if not error and self.view == NULL:
                rm_endpoint_take_back(endpoint.ep, self.base)
        self.exports -= 1
        endpoint.inside -= 1
        if error:
            raise errors.BufferInUse(f"{endpoint.peer} is reading or writing the buffer of {self.nbytes} bytes")
        self.endpoint = None
        endpoint.registered.pop(self.key, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        return f"<Buffer of {self.nbytes} bytes{', closed' if self.freed else ''}>"


@cython.no_gc_clear  # it knows its endpoint until it goes
cdef class Transfer:
    """A read or a write under way; made by Endpoint.start_read and Endpoint.start_write."""
    cdef Endpoint endpoint
    cdef Py_buffer *view
    cdef rm_transfer t
    cdef readonly Py_ssize_t nbytes

    def __init__(self):
        raise TypeError("transfers are made by Endpoint.start_read() and Endpoint.start_write()")

    def __dealloc__(self):
        if self.view != NULL:  # under way: the collector takes the endpoint too
            self.endpoint.end_now()
            release(self.view)

    cdef bint over(self):
        return self.endpoint.forgotten or rm_transfer_done(self.endpoint.ep, &self.t)

    cdef let_go(self):
        release(self.view)
        self.view = NULL
        self.endpoint.under_way.pop(id(self), None)

    @property
    def done(self):
        return self.over()

    def wait(self, timeout=None):
        cdef double seconds = seconds_of(timeout)
        cdef Endpoint endpoint = self.endpoint
        cdef int error
        if self.over() and not self.t.status and not endpoint.forgotten:
            return self.let_go()
        endpoint.enter()
        try:
            with nogil:
                error = rm_transfer_wait(endpoint.ep, &self.t, rm_deadline_after(seconds))
            if self.over():
                self.let_go()
            if error:
                endpoint.fail(error, timeout)
        finally:
            endpoint.inside -= 1


def open_endpoint(Carrying carrying, *, str peer, str transport, tuple mine, tuple theirs, uint32_t ring_bytes,
                  uint32_t bulk_window, uint32_t silence_ms):
    """The endpoint over what was agreed on; takes the descriptor. mine, theirs: (message_max, window)."""
    name = peer.encode()
    cdef rm_options options
    cdef rm_limits ours
    cdef rm_limits others
    memset(&options, 0, sizeof(options))
    options.ring_bytes, options.bulk_window, options.silence_ms = ring_bytes, bulk_window, silence_ms
    options.spin_us, options.service, options.peer = <uint32_t>-1, True, name
    ours.message_max, ours.window = mine
    others.message_max, others.window = theirs
    cdef Endpoint made = Endpoint.__new__(Endpoint)
    made.peer, made.transport, made.max_message = peer, transport, theirs[0]
    made.under_way, made.registered = {}, {}
    ENDPOINTS.add(made)
    made.ep = rm_endpoint_new(ours, others, ring_bytes // 4)
    if made.ep == NULL:
        raise MemoryError
    rm_endpoint_interruptible(made.ep, interrupted)
    cdef rm_link *link = carrying.take()
    cdef rm_channel *channel
    with nogil:
        rm_endpoint_opening(made.ep)
        channel = rm_channel_over(link, &options, &rm_endpoint_events, made.ep)
        rm_endpoint_opened(made.ep, channel)
    if channel == NULL:
        made.closing = True
        raise OSError(errno, os.strerror(errno))
    return made
