from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias

from typing_extensions import Buffer as HasBuffer
from typing_extensions import Self

from .remote import RemoteBuffer

class HasArray(Protocol):
    """NumPy's arrays, which before Python 3.12 don't tell that they have the buffer protocol."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...

Bytes: TypeAlias = HasBuffer | HasArray
Remote: TypeAlias = Literal["none", "read", "write", "readwrite"]

class CarrierFailed(Exception): ...

class Carrying:
    name: str
    why: str
    def __init__(
        self, name: str, fd: int, *, ring_bytes: int = 0, bulk_window: int = 0, silence_ms: int = 0
    ) -> None: ...
    def offer(self) -> bytes: ...
    def prepare(self, theirs: bytes) -> bytes: ...
    def accept(self, theirs: bytes) -> bytes: ...
    def connect(self, theirs: bytes) -> None: ...

def carriers() -> list[str]: ...
def least_window(message_max: int) -> int: ...
def open_endpoint(
    carrying: Carrying,
    *,
    peer: str,
    transport: str,
    mine: tuple[int, int],
    theirs: tuple[int, int],
    ring_bytes: int,
    bulk_window: int,
    silence_ms: int,
) -> Endpoint: ...

class Endpoint:
    """One end of a connection; made by connect() and Listener.accept(). Any thread may use it.

    Every method that waits takes a timeout in seconds (None: as long as it takes) and raises
    DeadlineExceeded after it, Disconnected when the connection has ended, also while it waits. Ctrl-C ends a
    wait. Messages and transfers are independent of each other: a write is not held up by messages that
    nobody receives.
    """

    peer: str
    """Who is at the other end."""
    transport: str
    """What carries the connection: shm, rdma, tcp, or the name of your class."""
    max_message: int
    """The largest message that the peer takes, in bytes."""
    def send(self, message: Bytes, timeout: float | None = None) -> None:
        """Sends one message: anything with the buffer protocol, contiguous, of 0 to max_message bytes.

        Returns once the message is on its way and the memory may be changed; waits while the peer's queue is
        full. The messages of one thread arrive in their order. After DeadlineExceeded the message is
        not sent; one of more than 32 KiB whose sending has begun is sent to its end first. Raises
        MessageTooLarge.
        """

    def send_many(self, messages: Iterable[Bytes], timeout: float | None = None) -> None:
        """Sends messages in order, small ones together: one system call for many.

        DeadlineExceeded.sent tells how many are on their way. If one is too large, none is sent.
        """

    def receive(self, timeout: float | None = None) -> bytes:
        """The next message. What came before the end of the connection can still be received after it."""

    def receive_many(self, limit: int = 1024, timeout: float | None = None) -> list[bytes]:
        """Waits for a message, and returns it with those that are there already: 1 to limit of them."""

    def __iter__(self) -> Self:
        """Messages as they come, until the peer or this side closes the connection."""

    def __next__(self) -> bytes: ...
    def allocate(self, nbytes: int, *, remote: Remote = "readwrite") -> Buffer:
        """A new buffer of nbytes zeros; the peer may do in it what remote says: "read", "write", "readwrite",
        "none". Over shm memory for "readwrite" is shared with the peer: its bytes are copied once."""

    def register(self, memory: Bytes, *, remote: Remote = "readwrite") -> Buffer:
        """Existing memory, such as a NumPy array, as a buffer. It is not copied, and it stays exported
        until the buffer is closed: an array cannot be resized meanwhile. Contiguous; writable if the peer may
        write."""

    def write(self, remote: RemoteBuffer, data: Bytes, offset: int = 0, timeout: float | None = None) -> None:
        """Writes data into the peer's buffer from offset (bytes) on; its program need not do anything.

        Returns once the data is there: whoever hears of it by a later message sees it. Raises AccessDenied,
        and ValueError if it does not fit. After DeadlineExceeded it may still happen.
        """

    def read(self, remote: RemoteBuffer, into: Bytes, offset: int = 0, timeout: float | None = None) -> None:
        """Fills into with bytes of the peer's buffer from offset on. As write() otherwise."""

    def start_write(
        self, remote: RemoteBuffer, data: Bytes, offset: int = 0, timeout: float | None = None
    ) -> Transfer:
        """As write(), but returns at once. data must not be changed until the transfer is done."""

    def start_read(
        self, remote: RemoteBuffer, into: Bytes, offset: int = 0, timeout: float | None = None
    ) -> Transfer:
        """As read(), but returns at once. into must not be used until the transfer is done."""

    @property
    def closed(self) -> bool:
        """Has the connection ended, for whatever reason?"""

    @property
    def stats(self) -> dict[str, int]:
        """Counters since the start: bytes_sent, bytes_received, sends (system calls), recvs, and others.

        bulk_direct and bulk_copied: bytes of large transfers that a network card or the other process took
        from where they lay, and those that this processor copied for it. Register memory to have no copies.
        """

    def close(self, timeout: float | None = 1.0) -> None:
        """Sends what is begun, for at most timeout seconds, and ends the connection. Whoever waits in
        another thread gets Disconnected. Buffers are no longer registered, but keep their contents."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

class Buffer:
    """Memory that the peer may use; made by Endpoint.allocate() and Endpoint.register().

    It has the buffer protocol: ``numpy.frombuffer(buffer, dtype)`` and ``memoryview(buffer)`` use the memory
    itself. The endpoint keeps it until either is closed.
    """

    nbytes: int
    handle: RemoteBuffer
    """What the peer needs to use it: send it ``bytes(buffer.handle)``."""
    @property
    def closed(self) -> bool: ...
    def close(self) -> None:
        """Takes the memory away from the peer and frees it, if it was allocated here.

        Raises BufferInUse, and does nothing, while a transfer of either end is under way in it, or while an
        array or memoryview still uses it.
        """

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

class Transfer:
    """A read or write under way; made by Endpoint.start_read() and Endpoint.start_write()."""

    nbytes: int
    @property
    def done(self) -> bool:
        """Is it over, well or not?"""

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it is done. Raises what write() raises; after DeadlineExceeded it goes on."""
