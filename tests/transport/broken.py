"""Transports with one fault each: the conformance suite has to find it."""

from __future__ import annotations

import socket
import threading
from collections import deque

from remora.transport import Stream, StreamListener
from remora.transport.examples.unix import UnixListener, UnixStream, UnixTransport


class KeepsReplies(UnixStream):
    """Waits until the room is full."""

    def receive_into(self, room: memoryview) -> int:
        count = 0
        while count < len(room) and (got := super().receive_into(room[count:])):
            count += got
        return count


class Forgets(UnixStream):
    """Says that all was sent when a part was."""

    def send(self, data: memoryview) -> int:
        super().send(data[:100_000])
        return len(data)


class EndsBothWays(UnixStream):
    """Its finish cuts the other direction too."""

    def finish(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)


class Hangs(UnixStream):
    """Its close leaves those who wait waiting."""

    def close(self) -> None:
        self.socket.detach()


class Hoards(UnixStream):
    """Takes whatever it is given, into memory without a limit."""

    def __init__(self, connected: socket.socket, peer: str) -> None:
        super().__init__(connected, peer)
        self.queue: deque[bytes] = deque()
        self.more = threading.Semaphore(0)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        try:
            while self.more.acquire():
                self.socket.sendall(self.queue.popleft())
        except OSError:
            pass

    def send(self, data: memoryview) -> int:
        self.queue.append(bytes(data))
        self.more.release()
        return len(data)


class Broken(UnixTransport):
    """The example, with another kind of stream."""

    kind: type[UnixStream]

    def connect(self, address: str, timeout: float) -> Stream:
        made = super().connect(address, timeout)
        assert isinstance(made, UnixStream)
        return self.kind(made.socket, made.peer)

    def listen(self, address: str) -> StreamListener:
        listener = super().listen(address)
        assert isinstance(listener, UnixListener)
        plain = listener.accept

        def accept() -> Stream:
            made = plain()
            assert isinstance(made, UnixStream)
            return self.kind(made.socket, made.peer)

        listener.accept = accept  # type: ignore[method-assign]
        return listener


class KeepsRepliesTransport(Broken):
    kind = KeepsReplies


class ForgetsTransport(Broken):
    kind = Forgets


class EndsBothWaysTransport(Broken):
    kind = EndsBothWays


class HangsTransport(Broken):
    kind = Hangs


class HoardsTransport(Broken):
    kind = Hoards
