"""A transport over Unix sockets: GPUs for programs that reach no network, only a shared folder.

    mine=remora.transport.examples.unix:UnixTransport
    remora relay --transport $mine --listen /run/gpu.sock --to 127.0.0.1:7401
    remora run --transport $mine --server /run/gpu.sock -- ./vectorAdd

An address is the path of a socket file. This is all that a transport has to have.
"""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import suppress

from remora.transport import Stream, StreamListener, Transport


class UnixStream(Stream):
    """A connected socket. The kernel does what a stream has to do; other carriers have more to write here."""

    def __init__(self, connected: socket.socket, peer: str) -> None:
        self.socket = connected
        self.peer = peer

    def send(self, data: memoryview) -> int:
        return self.socket.send(data)

    def receive_into(self, room: memoryview) -> int:
        return self.socket.recv_into(room)

    def finish(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits; close alone doesn't
        except OSError:
            pass
        self.socket.close()


class UnixListener(StreamListener):
    """A socket file, removed in the end; so is the folder that was made for it, if one was."""

    def __init__(self, path: str) -> None:
        self.folder = None if path else tempfile.mkdtemp(prefix="remora-unix-")
        self.address = path = path or os.path.join(str(self.folder), "socket")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(64)

    def accept(self) -> Stream:
        connected, _ = self.socket.accept()
        return UnixStream(connected, f"a program at {self.address}")

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self.address)
            if self.folder:
                os.rmdir(self.folder)


class UnixTransport(Transport):
    """Streams over Unix sockets."""

    def connect(self, address: str, timeout: float) -> Stream:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout)
            connected.connect(address)
            connected.settimeout(None)
        except OSError:
            connected.close()
            raise
        return UnixStream(connected, address)

    def listen(self, address: str) -> StreamListener:
        return UnixListener(address)
