"""Control messages for the server, the CLI and tests: dataclasses, their bytes, moving them over a socket.

A message travels as ``{u32 length, FlatBuffers buffer}`` (control.fbs, docs/wire.md). :func:`encode` and
:func:`decode` do no I/O; :func:`send` and :func:`receive` move one message over a blocking socket.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, TypeVar

import flatbuffers

from .generated import control
from .verify import Malformed, verify

PROTOCOL_MAJOR = 0
PROTOCOL_MINOR = 1
MAX_BYTES = 1 << 20

REASON_OTHER, REASON_VERSION, REASON_TOKEN, REASON_BUSY, REASON_RESOURCES, REASON_REQUEST = range(6)
REQUEST_LEASE, REQUEST_LIST, REQUEST_RELEASE, REQUEST_STATS = range(1, 5)


@dataclass
class Carrier:
    """Something that can carry the channel (carrier.h), and what the client's end says of it."""

    name: str = ""
    blob: bytes = b""


@dataclass
class Hello:
    """A program's process asks for a session; va_* is the range it reserved, in bytes."""

    major: int = PROTOCOL_MAJOR
    minor: int = PROTOCOL_MINOR
    table_hash: int = 0
    ticket: str = ""
    pid: int = 0
    program: str = ""
    va_base: int = 0
    va_bytes: int = 0
    ring_bytes: int = 0
    carriers: list[Carrier] = field(default_factory=list)


@dataclass
class Device:
    """One granted device: uuid of 16 bytes, total_mem of the partition, attributes by CUdevice_attribute."""

    name: str = ""
    uuid: bytes = b""
    total_mem: int = 0
    attributes: list[int] = field(default_factory=list)
    va_base: int = 0
    va_bytes: int = 0
    pci: str = ""


@dataclass
class Grant:
    """A session: its devices, and the sizes that both ends of the channel use (0: the default)."""

    session: int = 0
    devices: list[Device] = field(default_factory=list)
    driver_version: int = 0
    ring_bytes: int = 0
    bulk_window: int = 0
    priority_least: int = 0
    priority_greatest: int = 0
    server: str = ""
    va_base: int = 0
    va_bytes: int = 0
    silence_ms: int = 0
    carrier: str = ""
    carrier_blob: bytes = b""
    carrier_why: str = ""


@dataclass
class Refusal:
    """There will be no session: a REASON_ and one line for people."""

    reason: int = REASON_OTHER
    message: str = ""
    major: int = PROTOCOL_MAJOR
    minor: int = PROTOCOL_MINOR
    table_hash: int = 0


@dataclass
class Accept:
    """The client has the granted range (ok), or proposes va_base for another one.

    carrier_failed: why the granted carrier does not work on the client's side.
    """

    ok: bool = False
    va_base: int = 0
    carrier_blob: bytes = b""
    carrier_failed: str = ""


@dataclass
class Confirm:
    """What carries the channel from now on (none: the session ends), where more than tcp was granted."""

    carrier: str = ""
    why: str = ""


@dataclass
class Ask:
    """A launcher or tool asks the control plane: a REQUEST_ and what it needs."""

    request: int = 0
    token: str = ""
    gpus: int = 0
    fraction_ppm: int = 0
    mem_mib: int = 0
    ticket: str = ""
    program: str = ""
    major: int = PROTOCOL_MAJOR
    minor: int = PROTOCOL_MINOR


@dataclass
class Gpu:
    """One GPU of the server, or of a lease: memory in bytes."""

    index: int = 0
    name: str = ""
    uuid: str = ""
    memory: int = 0
    free: int = 0
    leases: int = 0


@dataclass
class SessionStats:
    """One session: records dispatched, replies sent, bytes held on each device."""

    session: int = 0
    pid: int = 0
    program: str = ""
    calls: int = 0
    answers: int = 0
    memory: list[int] = field(default_factory=list)


@dataclass
class Answer:
    """What the control plane answers; ok False: message says why not."""

    ok: bool = False
    message: str = ""
    reason: int = REASON_OTHER
    server: str = ""
    ticket: str = ""
    gpus: list[Gpu] = field(default_factory=list)
    sessions: list[SessionStats] = field(default_factory=list)
    driver: str = ""


Message = Hello | Grant | Refusal | Accept | Confirm | Ask | Answer
_T = TypeVar("_T")

_ROOTS: dict[bytes, type] = {
    b"RMHE": Hello,
    b"RMGR": Grant,
    b"RMNO": Refusal,
    b"RMAC": Accept,
    b"RMCO": Confirm,
    b"RMAS": Ask,
    b"RMAN": Answer,
}
_IDENTIFIERS = {kind: identifier for identifier, kind in _ROOTS.items()}
_NESTED: dict[str, type] = {"carriers": Carrier, "devices": Device, "gpus": Gpu, "sessions": SessionStats}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda m: m.group(1).upper(), name)


def _to_object(message: Any) -> Any:
    """The object of flatc's object API that has the message's values."""
    made = getattr(control, type(message).__name__ + "T")()
    for one in dataclasses.fields(message):
        value = getattr(message, one.name)
        if one.name in _NESTED and isinstance(value, list):
            value = [_to_object(element) for element in value]
        elif isinstance(value, bytes):
            value = list(value)
        setattr(made, _camel(one.name), value)
    return made


def _from_value(name: str, value: Any, default: Any) -> Any:
    if value is None:
        return default
    if name in _NESTED and isinstance(default, list):
        return [_from_object(_NESTED[name], element) for element in value]
    if isinstance(default, str):
        return value.decode() if isinstance(value, bytes) else value
    if isinstance(default, bytes):
        return bytes(bytearray(value))
    return [int(number) for number in value] if isinstance(default, list) else type(default)(value)


def _from_object(kind: type[_T], made: Any) -> _T:
    message: Any = kind()
    for one in dataclasses.fields(message):
        value = getattr(made, _camel(one.name))
        setattr(message, one.name, _from_value(one.name, value, getattr(message, one.name)))
    result: _T = message
    return result


def encode(message: Message) -> bytes:
    """The message's buffer, without the length before it."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_to_object(message).Pack(builder), file_identifier=_IDENTIFIERS[type(message)])
    return bytes(builder.Output())


def decode(data: bytes) -> Message:
    """The message of a buffer. Raises :class:`Malformed` for anything else; reads no byte unchecked."""
    kind = _ROOTS.get(bytes(data[4:8]))
    if kind is None:
        raise Malformed("not a Remora control message")
    verify(data, kind.__name__)
    table = getattr(control, kind.__name__ + "T")
    message: Message = _from_object(kind, table.InitFromPackedBuf(data))
    return message


def frame(message: Message) -> bytes:
    """What travels: the length, then the buffer."""
    data = encode(message)
    return struct.pack("<I", len(data)) + data


def frame_length(head: bytes) -> int:
    """The length in a message's first 4 bytes. Raises :class:`Malformed` beyond MAX_BYTES or under 8."""
    length = int(struct.unpack("<I", head)[0])
    if not 8 <= length <= MAX_BYTES:
        raise Malformed(f"control message of {length} bytes (limit {MAX_BYTES}): is a Remora peer talking?")
    return length


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 65536))
        if not part:
            raise ConnectionError(
                f"the connection ended inside a control message ({len(data)} of {size} bytes)"
            )
        data += part
    return bytes(data)


def send(connection: socket.socket, message: Message) -> None:
    """Sends one message; the socket's timeout applies (OSError)."""
    connection.sendall(frame(message))


def receive(connection: socket.socket) -> Message:
    """Receives one message and not a byte more. Raises OSError (timeout, end) or :class:`Malformed`."""
    return decode(_receive_exactly(connection, frame_length(_receive_exactly(connection, 4))))


def split_address(server: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPv6]:PORT`` in two. Raises ValueError with one line for people."""
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^\[\]]+)):(\d{1,5})", server)
    if not match or not 0 <= int(match[3]) < 65536:
        raise ValueError(f"{server}: not an address; use HOST:PORT or [IPv6]:PORT")
    return match[1] or match[2], int(match[3])


def connect(server: str, timeout: float = 10.0) -> socket.socket:
    """A connected socket with this timeout in seconds. ConnectionError with a line that names the server."""
    host, port = split_address(server)
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConnectionError(
            f"{server}: cannot connect: {reason}; is `remora serve` running there?"
        ) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(server: str, message: Message, timeout: float = 10.0) -> tuple[socket.socket, Message]:
    """Connects, sends one message and receives the answer; the open connection comes with it.

    Raises ConnectionError with one line that names the server, whatever went wrong.
    """
    connection = connect(server, timeout)
    try:
        send(connection, message)
        return connection, receive(connection)
    except (OSError, Malformed) as error:
        connection.close()
        raise ConnectionError(f"{server}: {error}") from error
