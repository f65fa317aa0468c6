# distutils: sources = transport/arrive.c transport/carrier.c transport/dial.c transport/fail.c transport/flat.c transport/frames.c transport/futex.c transport/hello.c transport/offers.c transport/open.c transport/put.c transport/rdma.c transport/rdma_bulk.c transport/rdma_memory.c transport/rdma_port.c transport/rdma_send.c transport/rdma_setup.c transport/rdma_stage.c transport/read.c transport/send.c transport/serve.c transport/share.c transport/shm.c transport/shm_files.c transport/shm_setup.c transport/stream.c transport/take.c transport/tcp.c transport/verbs.c transport/wait.c
# cython: language_level=3
"""The channel for Python: tests, benchmarks and tools. Waits and transfers run without the GIL.

Must not know: what an operation means. The engine's own loop uses channel.h directly.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import os
import threading

cdef extern from "<errno.h>" nogil:
    int errno

cdef extern from "<unistd.h>" nogil:
    int getpid()

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)

include "carrying.pxi"

cdef extern from "transport/channel.h" nogil:
    uint32_t RM_BULK_MAX_ "RM_BULK_MAX"
    uint32_t RM_URGENT_MAX_ "RM_URGENT_MAX"
    int RM_F_WAITS_ "RM_F_WAITS"
    int RM_OP_REPLY_ "RM_OP_REPLY"
    int RM_EPROTO_ "RM_EPROTO"
    int RM_ESILENT_ "RM_ESILENT"
    int RM_EPEER_ "RM_EPEER"
    int RM_ECLOSED_ "RM_ECLOSED"
    int RM_ETIMEOUT_ "RM_ETIMEOUT"
    ctypedef struct rm_channel:
        pass
    ctypedef struct rm_record:
        uint16_t op
        uint16_t flags
        uint32_t size
        uint32_t seq
        uint16_t ctx
        uint16_t thread
    ctypedef struct rm_waiter:
        uint32_t state
    ctypedef struct rm_options:
        uint32_t ring_bytes
        uint32_t record_max
        uint32_t bulk_window
        uint32_t silence_ms
        uint32_t spin_us
        bint service
        const char *peer
    ctypedef struct rm_events:
        void (*on_record)(void *user, const rm_record *record) noexcept nogil
        void *(*on_bulk)(void *user, uint32_t tag, size_t n) noexcept nogil
        void (*on_bulk_done)(void *user, uint32_t tag, void *where, size_t n) noexcept nogil
        void (*on_urgent)(void *user, const void *bytes, size_t n) noexcept nogil
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
    rm_channel *rm_channel_tcp(int fd, const rm_options *options, const rm_events *events, void *user)
    rm_channel *rm_channel_over(rm_link *link, const rm_options *options, const rm_events *events, void *user)
    void rm_channel_close(rm_channel *ch, int drain_ms)
    void rm_channel_end(rm_channel *ch, const char *why)
    void rm_channel_free(rm_channel *ch)
    void rm_channel_abandon(rm_channel *ch)
    int rm_channel_error(rm_channel *ch, const char **why)
    rm_record *rm_begin(rm_channel *ch, uint32_t size)
    rm_record *rm_try_begin(rm_channel *ch, uint32_t size)
    void rm_commit(rm_channel *ch)
    void rm_commit_unsent(rm_channel *ch)
    void rm_commit_with_bulk(rm_channel *ch)
    int rm_bulk_in_order(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bint last)
    int rm_flush(rm_channel *ch)
    int rm_bulk(rm_channel *ch, uint32_t tag, const void *bytes, size_t n)
    int rm_share(rm_channel *ch, void *at, size_t n, int fd, uint64_t offset)
    int rm_channel_urgent(rm_channel *ch, const void *bytes, size_t n)
    void rm_bulk_release(rm_channel *ch, uint32_t tag)
    int rm_read_loop(rm_channel *ch)
    const rm_record *rm_next(rm_channel *ch, int timeout_ms, int *error)
    void rm_release(rm_channel *ch, const rm_record *record)
    int rm_wait(rm_channel *ch, rm_waiter *w, int timeout_ms)
    void rm_wake(rm_channel *ch, rm_waiter *w)
    void rm_poll(rm_channel *ch)
    void rm_channel_stats(rm_channel *ch, rm_traffic *out)

cdef extern from * nogil:
    """
    static inline int woken(rm_waiter *w) { return __atomic_load_n(&w->state, __ATOMIC_ACQUIRE) == RM_WOKEN; }
    """
    bint woken(rm_waiter *w)

BULK_MAX = RM_BULK_MAX_
URGENT_MAX = RM_URGENT_MAX_
OP_REPLY = RM_OP_REPLY_
F_WAITS = RM_F_WAITS_
EPROTO, ESILENT, EPEER, ECLOSED, ETIMEOUT = RM_EPROTO_, RM_ESILENT_, RM_EPEER_, RM_ECLOSED_, RM_ETIMEOUT_


class ChannelError(Exception):
    """The channel has ended, or a call failed: ``code`` is one of this module's E names, or -errno."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


cdef struct Item:  # something that arrived: a record, a bulk message or an urgent one
    Item *next
    uint32_t tag
    size_t n

cdef struct Queue:
    Item *first
    Item *last

cdef struct Call:  # a waiting call; on the caller's stack
    Call *next
    rm_waiter waiter
    uint32_t seq
    Item *answer

cdef struct Inbox:
    pthread_mutex_t lock
    rm_channel *channel
    Queue records, bulk, urgent
    Call *calls
    void *landing
    size_t landing_bytes
    bint release_at_once


cdef Item *new_item(uint32_t tag, const void *bytes, size_t n) noexcept nogil:
    cdef Item *item = <Item *>malloc(sizeof(Item) + n)
    if item != NULL:
        item.next, item.tag, item.n = NULL, tag, n
        if bytes != NULL:
            memcpy(item + 1, bytes, n)
    return item

cdef void push(Inbox *inbox, Queue *queue, Item *item) noexcept nogil:
    if item == NULL:
        return
    pthread_mutex_lock(&inbox.lock)
    if queue.last != NULL:
        queue.last.next = item
    else:
        queue.first = item
    queue.last = item
    pthread_mutex_unlock(&inbox.lock)

cdef Item *pop(Inbox *inbox, Queue *queue) noexcept nogil:
    pthread_mutex_lock(&inbox.lock)
    cdef Item *item = queue.first
    if item != NULL:
        queue.first = item.next
        if queue.first == NULL:
            queue.last = NULL
    pthread_mutex_unlock(&inbox.lock)
    return item

cdef void drop_all(Inbox *inbox, Queue *queue) noexcept nogil:
    cdef Item *item = pop(inbox, queue)
    while item != NULL:
        free(item)
        item = pop(inbox, queue)

cdef void enlist(Inbox *inbox, Call *call) noexcept nogil:
    pthread_mutex_lock(&inbox.lock)
    call.next = inbox.calls
    inbox.calls = call
    pthread_mutex_unlock(&inbox.lock)

cdef Call *unlist(Inbox *inbox, uint32_t seq) noexcept nogil:
    pthread_mutex_lock(&inbox.lock)
    cdef Call **at = &inbox.calls
    while at[0] != NULL and at[0].seq != seq:
        at = &at[0].next
    cdef Call *call = at[0]
    if call != NULL:
        at[0] = call.next
    pthread_mutex_unlock(&inbox.lock)
    return call

cdef void take_record(void *user, const rm_record *record) noexcept nogil:
    cdef Inbox *inbox = <Inbox *>user
    cdef Item *item = new_item(0, record, record.size)
    cdef Call *call = unlist(inbox, record.seq) if record.op == RM_OP_REPLY_ else NULL
    if call == NULL:
        push(inbox, &inbox.records, item)
    else:
        call.answer = item
        rm_wake(inbox.channel, &call.waiter)

cdef void *bulk_room(void *user, uint32_t tag, size_t n) noexcept nogil:
    cdef Inbox *inbox = <Inbox *>user
    if inbox.landing != NULL:
        return inbox.landing if n <= inbox.landing_bytes else NULL
    cdef Item *item = new_item(tag, NULL, n)
    return NULL if item == NULL else item + 1

cdef void bulk_landed(void *user, uint32_t tag, void *where, size_t n) noexcept nogil:
    cdef Inbox *inbox = <Inbox *>user
    if inbox.landing == NULL:
        push(inbox, &inbox.bulk, <Item *>where - 1)
    if inbox.release_at_once:
        rm_bulk_release(inbox.channel, tag)

cdef void take_urgent(void *user, const void *data, size_t n) noexcept nogil:
    cdef Inbox *inbox = <Inbox *>user
    push(inbox, &inbox.urgent, new_item(0, data, n))

cdef tuple record_tuple(const rm_record *record):
    return (record.op, record.flags, record.seq, record.ctx, record.thread,
            (<const char *>record)[sizeof(rm_record):record.size])


cdef class Channel:
    """A channel over a connected stream socket, whose descriptor it takes over, or over a :class:`Carrying`.

    ``deliver``: replies go to the callers of :meth:`call`, other records to :meth:`records` (the client's
    side); else records are read with :meth:`next` (the engine's side). ``service``: own threads send and
    read. ``hold_bulk``: bulk credit goes back only by :meth:`release_bulk`. Sizes are in bytes, 0 is the default.
    """
    cdef rm_channel *channel
    cdef int pid
    cdef Inbox inbox
    cdef object reader
    cdef object landing

    def __cinit__(self, carrier, *, uint32_t ring_bytes=0, uint32_t record_max=0, uint32_t bulk_window=0,
                  uint32_t silence_ms=0, int spin_us=-1, bint service=False, bint deliver=False,
                  bint hold_bulk=False, str peer="peer"):
        name = peer.encode()
        cdef rm_options options
        cdef rm_events events
        memset(&options, 0, sizeof(options))
        memset(&events, 0, sizeof(events))
        options.ring_bytes, options.record_max, options.bulk_window = ring_bytes, record_max, bulk_window
        options.silence_ms, options.spin_us, options.service = silence_ms, <uint32_t>spin_us, service
        options.peer = name
        if deliver:
            events.on_record = take_record
        events.on_bulk, events.on_bulk_done, events.on_urgent = bulk_room, bulk_landed, take_urgent
        cdef rm_link *link = (<Carrying>carrier).take() if isinstance(carrier, Carrying) else NULL
        self.open(-1 if link != NULL else carrier, link, &options, &events, not hold_bulk)

    cdef open(self, int fd, rm_link *link, const rm_options *options, rm_events *events, bint release_at_once):
        self.pid = getpid()
        pthread_mutex_init(&self.inbox.lock, NULL)
        self.inbox.release_at_once = release_at_once
        # The reading thread takes the lock before it looks at inbox.channel, so it finds it set.
        pthread_mutex_lock(&self.inbox.lock)
        if link != NULL:
            self.channel = self.inbox.channel = rm_channel_over(link, options, events, &self.inbox)
        else:
            self.channel = self.inbox.channel = rm_channel_tcp(fd, options, events, &self.inbox)
        pthread_mutex_unlock(&self.inbox.lock)
        if self.channel == NULL:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.channel != NULL and getpid() != self.pid:  # garbage of our parent's, whose threads are not here
            rm_channel_abandon(self.channel)
        elif self.channel != NULL:
            with nogil:
                rm_channel_free(self.channel)
        drop_all(&self.inbox, &self.inbox.records)
        drop_all(&self.inbox, &self.inbox.bulk)
        drop_all(&self.inbox, &self.inbox.urgent)

    cdef fail(self, int code):
        cdef const char *why = NULL
        cdef int ended = rm_channel_error(self.channel, &why)
        if ended and (code == ended or code == 0):
            raise ChannelError(ended, why.decode(errors="replace"))
        text = "timed out" if code == RM_ETIMEOUT_ else os.strerror(-code) if -4096 < code < 0 else str(code)
        raise ChannelError(code, text)

    # ---- sending

    cdef rm_record *put(self, uint16_t op, const uint8_t[::1] payload, uint16_t flags, uint16_t ctx,
                        uint16_t thread) except NULL:
        cdef uint32_t n = <uint32_t>payload.shape[0]
        cdef rm_record *record
        with nogil:
            record = rm_begin(self.channel, <uint32_t>sizeof(rm_record) + n)
        if record == NULL:
            if rm_channel_error(self.channel, NULL):
                self.fail(0)
            raise ValueError(f"a record of {n} + 16 bytes is too large for this channel")
        record.op, record.flags, record.ctx, record.thread = op, flags, ctx, thread
        if n:
            memcpy(record + 1, &payload[0], n)
        return record

    def post(self, int op, payload=b"", *, int flags=0, int ctx=0, int thread=0):
        """Puts a record into the ring; waits for room only. Returns its sequence number."""
        cdef uint32_t seq = self.put(op, payload, flags, ctx, thread).seq
        rm_commit(self.channel)
        return seq

    def post_many(self, int op, payload, long count):
        """Posts the same record many times without the GIL, as a program in C would."""
        cdef const uint8_t[::1] data = payload
        cdef uint32_t n = <uint32_t>data.shape[0]
        cdef const void *bytes = &data[0] if n else NULL
        cdef rm_record *record
        cdef long i
        with nogil:
            for i in range(count):
                record = rm_begin(self.channel, <uint32_t>sizeof(rm_record) + n)
                if record == NULL:
                    break
                record.op = op
                memcpy(record + 1, bytes, n)
                rm_commit(self.channel)
        if record == NULL:
            self.fail(0)

    def try_post(self, int op, payload=b""):
        """Whether the record went into the ring without waiting."""
        cdef const uint8_t[::1] data = payload
        cdef rm_record *record = rm_try_begin(self.channel, <uint32_t>(sizeof(rm_record) + data.shape[0]))
        if record == NULL:
            return False
        record.op = op
        if data.shape[0]:
            memcpy(record + 1, &data[0], data.shape[0])
        rm_commit(self.channel)
        return True

    def reply(self, uint32_t seq, payload=b"", *, int thread=0):
        """Answers the call with this sequence number, and sends it."""
        cdef rm_record *record = self.put(RM_OP_REPLY_, payload, 0, 0, thread)
        record.seq = seq
        rm_commit(self.channel)
        self.flush()

    def flush(self):
        """Sends what is committed, from this thread."""
        cdef int error
        with nogil:
            error = rm_flush(self.channel)
        if error:
            self.fail(error)

    def call(self, int op, payload=b"", *, int timeout_ms=-1, int thread=0):
        """Posts a record that waits, and returns its reply's payload. ChannelError ETIMEOUT at the deadline."""
        cdef Call call
        memset(&call, 0, sizeof(call))
        call.seq = self.put(op, payload, RM_F_WAITS_, 0, thread).seq
        cdef int error
        with nogil:
            enlist(&self.inbox, &call)
            rm_commit_unsent(self.channel)
            error = rm_wait(self.channel, &call.waiter, timeout_ms)
            if error and unlist(&self.inbox, call.seq) == NULL:
                while not woken(&call.waiter):  # its reply is just being taken
                    sched_yield()
                error = 0
        if error:
            self.fail(error)
        try:
            return (<char *>(call.answer + 1))[sizeof(rm_record):call.answer.n]
        finally:
            free(call.answer)

    def bulk(self, uint32_t tag, data):
        """Sends one bulk message from the buffer's own memory; waits for credit."""
        cdef const uint8_t[::1] view = data
        cdef size_t n = view.shape[0]
        cdef const void *bytes = &view[0] if n else NULL
        cdef int error
        with nogil:
            error = rm_bulk(self.channel, tag, bytes, n)
        if error:
            self.fail(error)

    def post_with_bulk(self, int op, payload, uint32_t tag, parts):
        """A record and its bulk messages, in this order whatever others send."""
        self.put(op, payload, 0, 0, 0)
        rm_commit_with_bulk(self.channel)
        cdef const uint8_t[::1] view
        cdef int error = 0
        cdef bint last
        cdef size_t n
        cdef const void *bytes
        for i, part in enumerate(parts):
            view, last = part, i == len(parts) - 1
            n = view.shape[0]
            bytes = &view[0] if n else NULL
            with nogil:
                error = rm_bulk_in_order(self.channel, tag, bytes, n, last)
            if error:
                self.fail(error)

    def urgent(self, data):
        """Sends up to URGENT_MAX bytes past the ring."""
        cdef const uint8_t[::1] view = data
        cdef size_t n = view.shape[0]
        cdef const void *bytes = &view[0] if n else NULL
        cdef int error
        with nogil:
            error = rm_channel_urgent(self.channel, bytes, n)
        if error:
            self.fail(error)

    # ---- receiving

    def next(self, int timeout_ms=-1):
        """The next record as (op, flags, seq, ctx, thread, payload); its room goes back at once."""
        cdef int error = 0
        cdef const rm_record *record
        with nogil:
            record = rm_next(self.channel, timeout_ms, &error)
        if record == NULL:
            self.fail(error)
        made = record_tuple(record)
        with nogil:
            rm_release(self.channel, record)
        return made

    def skip(self, long count, int timeout_ms=-1):
        """Takes and releases up to count records without looking at them. Returns how many came in time."""
        cdef int error = 0
        cdef const rm_record *record
        cdef long taken = 0
        with nogil:
            while taken < count:
                record = rm_next(self.channel, timeout_ms, &error)
                if record == NULL:
                    break
                rm_release(self.channel, record)
                taken += 1
        if error and error != RM_ETIMEOUT_:
            self.fail(error)
        return taken

    def echo(self):
        """Answers every waiting call with its own payload, without the GIL, until the channel ends."""
        cdef int error = 0
        cdef const rm_record *record
        cdef rm_record *answer
        with nogil:
            while True:
                record = rm_next(self.channel, -1, &error)
                if record == NULL:
                    break
                if record.flags & RM_F_WAITS_:
                    answer = rm_begin(self.channel, record.size)
                    if answer == NULL:
                        break
                    answer.op, answer.seq = RM_OP_REPLY_, record.seq
                    memcpy(answer + 1, record + 1, record.size - sizeof(rm_record))
                    rm_commit(self.channel)
                    rm_flush(self.channel)
                rm_release(self.channel, record)
        return error

    def read_loop(self):
        """Reads until the channel ends, on this thread. Returns the error."""
        cdef int error
        with nogil:
            error = rm_read_loop(self.channel)
        return error

    def start_reader(self):
        """read_loop on a thread of its own, which close joins."""
        self.reader = threading.Thread(target=self.read_loop, name="remora-reader", daemon=True)
        self.reader.start()

    def poll(self):
        """Takes in what has arrived, without waiting."""
        with nogil:
            rm_poll(self.channel)

    def records(self):
        """Records that arrived and answered no call (deliver only), oldest first."""
        found = []
        cdef Item *item = pop(&self.inbox, &self.inbox.records)
        while item != NULL:
            found.append(record_tuple(<rm_record *>(item + 1)))
            free(item)
            item = pop(&self.inbox, &self.inbox.records)
        return found

    def bulk_messages(self):
        """Bulk messages that landed, oldest first: (tag, bytes)."""
        return self.take_all(&self.inbox.bulk)

    def urgent_messages(self):
        """Urgent messages that came, oldest first."""
        return [data for _, data in self.take_all(&self.inbox.urgent)]

    cdef list take_all(self, Queue *queue):
        cdef list found = []
        cdef Item *item = pop(&self.inbox, queue)
        while item != NULL:
            found.append((item.tag, (<char *>(item + 1))[:item.n]))
            free(item)
            item = pop(&self.inbox, queue)
        return found

    def land_in(self, buffer):
        """From now on every bulk message lands at the start of this writable buffer (benchmarks)."""
        cdef uint8_t[::1] view = buffer
        self.landing = buffer
        self.inbox.landing, self.inbox.landing_bytes = &view[0], view.shape[0]

    def share(self, buffer, int fd, uint64_t offset=0):
        """Lets a peer on this host reach a buffer that is a shared mapping of fd's bytes (-1: no longer)."""
        cdef uint8_t[::1] view = buffer
        cdef int error = rm_share(self.channel, &view[0], view.shape[0], fd, offset)
        if error:
            raise OSError(-error, os.strerror(-error))

    def release_bulk(self, uint32_t tag):
        """Gives the credit of one bulk message of this tag back (hold_bulk only)."""
        with nogil:
            rm_bulk_release(self.channel, tag)

    # ---- the end

    @property
    def error(self):
        """(code, why) once the channel has ended, else None."""
        cdef const char *why = NULL
        cdef int code = rm_channel_error(self.channel, &why)
        return (code, why.decode(errors="replace")) if code else None

    @property
    def stats(self):
        """Counters since the start, as a dict."""
        cdef rm_traffic traffic
        rm_channel_stats(self.channel, &traffic)
        return traffic

    def close(self, int drain_ms=1000):
        """Sends what is unsent, for at most drain_ms, and ends the channel."""
        with nogil:
            rm_channel_close(self.channel, drain_ms)
        if self.reader is not None:
            self.reader.join()

    def end(self, str why):
        """Ends the channel at once and tells the peer why."""
        text = why.encode()
        cdef const char *c_text = text
        with nogil:
            rm_channel_end(self.channel, c_text)
        if self.reader is not None:
            self.reader.join()

    def abandon(self):
        """In a forked child: releases the descriptor and nothing else."""
        rm_channel_abandon(self.channel)
        self.channel = NULL

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
