"""What the suite needs of a transport: two ends of a channel, each made in the process that uses it.

Must not know: what is tested.
"""

from __future__ import annotations

import os
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Protocol

from remora.transport._channel import CarrierFailed, Carrying, Channel

BACKENDS = "REMORA_BACKENDS"  # names of the backends to test, with commas between
HOST = "REMORA_BACKEND_HOST"  # the address to listen at: of the network card, for rdma
SECONDS = 20.0  # for two ends to find each other
TERMS = ("ring_bytes", "bulk_window", "silence_ms")


class Raw(Protocol):
    """A peer that sends whatever frames it likes (docs/wire.md)."""

    def sendall(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> object: ...


class Listening(ABC):
    """Where the engine's end waits. address: text that reaches it, also from another process."""

    address: str

    @abstractmethod
    def accept(self, **options: Any) -> Channel:
        """The engine's end for the next client; its reader is not started. Options are Channel's."""

    @abstractmethod
    def close(self) -> None: ...


class Backend(ABC):
    """One transport. The suite forks: an end is made and used in one process only."""

    name: str

    @abstractmethod
    def listen(self) -> Listening: ...

    @abstractmethod
    def connect(self, address: str, **options: Any) -> Channel:
        """The client's end of a channel to whoever accepts at address. Options are Channel's."""

    def raw(self, address: str) -> Raw | None:
        """A client that sends bare frames; None: this transport has no such thing."""
        return None


# ---- Remora's own: beside a TCP connection, as in a session (carrier.h)


def send_blob(connection: socket.socket, blob: bytes) -> None:
    connection.sendall(struct.pack("<I", len(blob)) + blob)


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the peer ended while the carrier was agreed on")
        data += part
    return data


def receive_blob(connection: socket.socket) -> bytes:
    return receive_exactly(connection, struct.unpack("<I", receive_exactly(connection, 4))[0])


def opened(carrying: Carrying, connection: socket.socket, options: dict[str, Any]) -> Channel:
    connection.settimeout(None)
    connection.detach()
    return Channel(carrying, **options)


def terms(options: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in options.items() if name in TERMS}


class CarrierListening(Listening):
    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.listener = socket.create_server((host, 0))
        self.listener.settimeout(SECONDS)
        self.address = f"{host}:{self.listener.getsockname()[1]}"

    def accept(self, **options: Any) -> Channel:
        connection, _ = self.listener.accept()
        connection.settimeout(SECONDS)
        with closing(connection):
            carrying = Carrying(self.name, connection.fileno(), **terms(options))
            send_blob(connection, carrying.prepare(receive_blob(connection)))
            carrying.connect(receive_blob(connection))
            send_blob(connection, b"connected")
            return opened(carrying, connection, options)

    def close(self) -> None:
        self.listener.close()


class CarrierBackend(Backend):
    """tcp, shm or rdma."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = os.environ.get(HOST, "127.0.0.1")

    def listen(self) -> Listening:
        return CarrierListening(self.name, self.host)

    def connect(self, address: str, **options: Any) -> Channel:
        with closing(dial(address)) as connection:
            carrying = Carrying(self.name, connection.fileno(), **terms(options))
            send_blob(connection, carrying.offer())
            send_blob(connection, carrying.accept(receive_blob(connection)))
            if receive_blob(connection) != b"connected":
                raise CarrierFailed("the listener did not confirm")
            return opened(carrying, connection, options)

    def raw(self, address: str) -> Raw | None:
        if self.name == "tcp":
            return raw_tcp(address)
        if self.name == "shm":
            from .shm_peer import ShmPeer

            return ShmPeer(dial(address))
        return None


def dial(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def raw_tcp(address: str) -> socket.socket:
    """Says what a client of the carrier tcp says, and is left with a bare connection."""
    connection = dial(address)
    send_blob(connection, b"")
    receive_blob(connection)
    send_blob(connection, b"")
    receive_blob(connection)
    return connection


def named(name: str) -> Backend:
    """The backend for tcp, shm, rdma, or MODULE:CLASS of a transport."""
    if ":" not in name:
        return CarrierBackend(name)
    from remora.transport.base import load

    from .custom import CustomBackend

    made: Backend = CustomBackend(load(name))
    return made


def wanted(default: str) -> Iterator[str]:
    """Names of the backends to test."""
    yield from (name for name in os.environ.get(BACKENDS, default).split(",") if name)
