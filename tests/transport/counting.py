"""The example transport, counting what it carries: a test has to see that nothing went past it."""

from __future__ import annotations

import os
import threading

from remora.transport import Stream, StreamListener
from remora.transport.examples.unix import UnixListener, UnixStream, UnixTransport

LOCK = threading.Lock()


class CountingStream(UnixStream):
    """Adds to the file $COUNTING_FILE, after each call, a line "sent N" or "received N"."""

    def send(self, data: memoryview) -> int:
        # Odd portions: whoever drives a transport has to cope with partial sends.
        return self.note("sent", super().send(data[:60_001]))

    def receive_into(self, room: memoryview) -> int:
        return self.note("received", super().receive_into(room[:40_009]))

    def note(self, what: str, count: int) -> int:
        with LOCK, open(os.environ["COUNTING_FILE"], "a") as file:
            file.write(f"{what} {count}\n")
        return count


class CountingListener(UnixListener):
    def accept(self) -> Stream:
        accepted = super().accept()
        assert isinstance(accepted, UnixStream)
        return CountingStream(accepted.socket, accepted.peer)


class CountingTransport(UnixTransport):
    def connect(self, address: str, timeout: float) -> Stream:
        made = super().connect(address, timeout)
        assert isinstance(made, UnixStream)
        return CountingStream(made.socket, made.peer)

    def listen(self, address: str) -> StreamListener:
        return CountingListener(address) if address else super().listen(address)


class NotOne:
    """Has the name of a transport, and is none."""


class Unfinished(UnixTransport):
    """Cannot connect."""

    def connect(self, address: str, timeout: float) -> Stream:
        raise OSError("the cable is not there")
