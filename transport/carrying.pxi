# One end's attempt at a carrier (carrier.h), for the engine's sessions and for tests. Included by modules that
# open channels. Must not know: control messages, what blobs say.

cdef extern from "transport/carrier.h" nogil:
    int RM_BLOB_MAX_ "RM_BLOB_MAX"
    int RM_CARRIERS_MAX_ "RM_CARRIERS_MAX"
    ctypedef struct rm_link:
        pass
    ctypedef struct rm_blob:
        uint32_t n
        uint8_t bytes[4096]
    ctypedef struct rm_terms "rm_terms":
        uint32_t ring_bytes
        uint32_t bulk_window
        uint32_t silence_ms
    ctypedef struct rm_carrier:
        const char *name
        bint (*offer)(rm_carrying *c, rm_blob *mine) noexcept nogil
        bint (*prepare)(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) noexcept nogil
        bint (*accept)(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) noexcept nogil
        bint (*connect)(rm_carrying *c, const rm_blob *theirs) noexcept nogil
        rm_link *(*link)(rm_carrying *c) noexcept nogil
    ctypedef struct rm_carrying:
        const rm_carrier *carrier
        int fd
        rm_terms terms
        void *state
        char *why
    const rm_carrier *rm_carriers[]
    const rm_carrier *rm_carrier_named(const char *name)
    void rm_carrying_drop(rm_carrying *c)


class CarrierFailed(Exception):
    """A carrier does not work between these two ends: str() is one line that says why."""


def carriers() -> list[str]:
    """Names of all carriers that are built in, in the order of preference."""
    names = []
    while rm_carriers[len(names)] != NULL:
        names.append(rm_carriers[len(names)].name.decode())
    return names


cdef class Carrying:
    """One end's attempt at the carrier called name, beside a connected socket (its descriptor).

    A client calls offer and accept, a server prepare and connect, each with the other's blob; all raise
    CarrierFailed. Then a channel takes it, and the descriptor with it. Sizes are the channel's, 0 is the default.
    """
    cdef rm_carrying c

    def __cinit__(self, str name, int fd, *, uint32_t ring_bytes=0, uint32_t bulk_window=0, uint32_t silence_ms=0):
        self.c.carrier = rm_carrier_named(name.encode())
        if self.c.carrier == NULL:
            raise CarrierFailed(f"{name}: there is no such transport")
        self.c.fd = fd
        self.c.terms.ring_bytes, self.c.terms.bulk_window = ring_bytes, bulk_window
        self.c.terms.silence_ms = silence_ms

    def __dealloc__(self):
        rm_carrying_drop(&self.c)

    @property
    def name(self) -> str:
        return self.c.carrier.name.decode()

    @property
    def why(self) -> str:
        """What the last step said."""
        return (<bytes><char *>self.c.why).decode(errors="replace")

    cdef bytes result(self, bint works, rm_blob *mine):
        if not works:
            raise CarrierFailed(self.why or "it failed")
        return mine.bytes[:mine.n]

    def offer(self) -> bytes:
        """What this client says of itself."""
        cdef rm_blob mine
        mine.n = 0
        return self.result(self.c.carrier.offer(&self.c, &mine), &mine)

    def prepare(self, bytes theirs) -> bytes:
        """What this server answers to a client's offer."""
        cdef rm_blob mine
        cdef rm_blob other = blob_of(theirs)
        mine.n = 0
        return self.result(self.c.carrier.prepare(&self.c, &other, &mine), &mine)

    def accept(self, bytes theirs) -> bytes:
        """What this client answers to what the server prepared."""
        cdef rm_blob mine
        cdef rm_blob other = blob_of(theirs)
        mine.n = 0
        return self.result(self.c.carrier.accept(&self.c, &other, &mine), &mine)

    def connect(self, bytes theirs) -> None:
        """Makes it work, with what the client answered."""
        cdef rm_blob other = blob_of(theirs)
        self.result(self.c.carrier.connect(&self.c, &other), &other)

    cdef rm_link *take(self) except? NULL:
        """The link, which owns the descriptor; NULL with errno's OSError when memory is short."""
        cdef rm_link *link = self.c.carrier.link(&self.c)
        self.c.state = NULL
        if link == NULL:
            raise CarrierFailed(self.why or "out of memory or descriptors")
        return link


cdef rm_blob blob_of(bytes data) except *:
    cdef rm_blob blob
    if len(data) > RM_BLOB_MAX_:
        raise CarrierFailed(f"{len(data)} bytes of carrier data (limit {RM_BLOB_MAX_})")
    blob.n = <uint32_t>len(data)
    memcpy(blob.bytes, <const char *>data, blob.n)
    return blob
