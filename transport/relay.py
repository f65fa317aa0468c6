"""Carries connections over a transport written in Python: a socket on one side, a stream on the other.

    program -- TCP -- relay == your transport == relay -- TCP -- engine

Two threads for each connection move bytes; both sleep while there are none.
Must not know: what the bytes mean.
"""

from __future__ import annotations

import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .base import Stream, Transport

log = logging.getLogger("remora.relay")

PIECE_BYTES = 256 << 10  # of one move: as much as the channel sends at once, so that a piece is one call
CONNECT_SECONDS = 10.0
SOCKET_BYTES = 1 << 20  # kernel buffers of a local pair: a bulk message fits, its sender need not wait


def carry(stream: Stream) -> socket.socket:
    """A connected local socket whose bytes travel over stream, which it takes over.

    Closing the socket ends the stream. Any code that wants a file descriptor can use the transport so.
    """
    near, far = socket.socketpair()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    Junction(far, stream).start()
    return near


class Junction:
    """A socket and a stream joined: what one receives the other sends, until both directions have ended."""

    def __init__(self, local: socket.socket, stream: Stream, ended: Callable[[], None] | None = None) -> None:
        self.local = local
        self.stream = stream
        self.ended = ended
        self.lock = threading.Lock()
        self.open_directions = 2

    def start(self) -> None:
        """Returns at once."""
        for name, move in (("remora-out", self._outward), ("remora-in", self._inward)):
            threading.Thread(target=self._run, args=(move,), name=name, daemon=True).start()

    def cut(self) -> None:
        """Ends both directions at once."""
        hang_up(self.local)
        self.stream.close()

    def _run(self, move: Callable[[], None]) -> None:
        try:
            move()
        except OSError as error:
            log.debug("%s: %s", self.stream.peer, error)
            self.cut()
        except Exception:
            log.exception("%s: the transport failed", self.stream.peer)
            self.cut()
        finally:
            self._one_ended()

    def _outward(self) -> None:
        room = memoryview(bytearray(PIECE_BYTES))
        while count := self.local.recv_into(room):
            send_all(self.stream, room[:count])
        self.stream.finish()

    def _inward(self) -> None:
        room = memoryview(bytearray(PIECE_BYTES))
        while count := self.stream.receive_into(room):
            self.local.sendall(room[:count])
        self.local.shutdown(socket.SHUT_WR)

    def _one_ended(self) -> None:
        with self.lock:
            self.open_directions -= 1
            if self.open_directions:
                return
        self.local.close()
        self.stream.close()
        if self.ended:
            self.ended()


class Relay(ABC):
    """Accepts on one side, connects on the other, joins the two. stop() ends it and all it carries."""

    address: str
    """Where it accepts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.junctions: set[Junction] = set()
        self.stopping = False
        self.thread = threading.Thread(target=self._accept_all, name="remora-relay", daemon=True)

    def __enter__(self) -> Relay:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopping = True
        self._close()
        with self.lock:
            junctions = list(self.junctions)
        for junction in junctions:
            junction.cut()

    @abstractmethod
    def _accept(self) -> socket.socket | Stream:
        """Waits for the next connection. OSError once closed."""

    @abstractmethod
    def _join(self, accepted: Any) -> Junction:
        """Connects on the other side. Closes what was accepted if it can't."""

    @abstractmethod
    def _close(self) -> None:
        """Accepts no more."""

    def _accept_all(self) -> None:
        while not self.stopping:
            try:
                accepted = self._accept()
            except OSError as error:
                if not self.stopping:
                    log.error("%s: accepts no more connections: %s", self.address, error)
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket | Stream) -> None:
        try:
            junction = self._join(accepted)
        except Exception as error:
            accepted.close()
            log.error("%s: a connection could not be carried on: %s", self.address, error)
            return
        junction.ended = lambda: self._forget(junction)
        with self.lock:
            self.junctions.add(junction)
        junction.start()
        if self.stopping:
            junction.cut()

    def _forget(self, junction: Junction) -> None:
        with self.lock:
            self.junctions.discard(junction)


class Near(Relay):
    """The half beside the program: carries whoever connects to its address (HOST:PORT, on loopback) to the
    far half that listens at `to`."""

    def __init__(self, transport: Transport, to: str) -> None:
        super().__init__()
        self.transport = transport
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())

    def _accept(self) -> socket.socket:
        return self.listener.accept()[0]

    def _join(self, accepted: socket.socket) -> Junction:
        prepare(accepted)
        return Junction(accepted, self.transport.connect(self.to, CONNECT_SECONDS))

    def _close(self) -> None:
        hang_up(self.listener)
        self.listener.close()


class Far(Relay):
    """The half beside the engine at (host, port): listens at address. Raises OSError."""

    def __init__(self, transport: Transport, address: str, engine: tuple[str, int]) -> None:
        super().__init__()
        self.engine = engine
        self.listener = transport.listen(address)
        self.address = self.listener.address

    def _accept(self) -> Stream:
        return self.listener.accept()

    def _join(self, accepted: Stream) -> Junction:
        local = socket.create_connection(self.engine, CONNECT_SECONDS)
        prepare(local)
        return Junction(local, accepted)

    def _close(self) -> None:
        self.listener.close()


def send_all(stream: Stream, data: memoryview) -> None:
    """All of data, in as many calls as it takes."""
    while data:
        count = stream.send(data)
        if not 0 < count <= len(data):
            raise OSError(f"send() returned {count} for {len(data)} bytes")
        data = data[count:]


def prepare(local: socket.socket) -> None:
    local.settimeout(None)
    local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def hang_up(local: socket.socket) -> None:
    """Wakes whoever waits on it."""
    try:
        local.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
