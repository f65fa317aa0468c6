"""A transport over TCP that compresses: for slow networks, and an example of streams made from messages.

    mine=remora.transport.examples.compressed:CompressedTransport
    remora relay --transport $mine --listen 0.0.0.0:7500 --to 127.0.0.1:7401
    remora run --transport $mine --server gpubox:7500 --token-file secret -- python train.py

What is sent becomes blocks {u32 length, LZ4 block}; what is received is handed out as far as there is room.
"""

from __future__ import annotations

import socket
import struct

import lz4.block

from remora.transport import Stream, StreamListener, Transport
from remora.transport.hello import split_address

HEAD = struct.Struct("<I")
MOST = 256 << 10  # bytes of one block, unpacked: no peer makes us unpack more
MOST_PACKED = MOST + MOST // 255 + 16  # LZ4's own bound


class CompressedStream(Stream):
    """Blocks over a connected socket."""

    def __init__(self, connected: socket.socket, peer: str) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self.peer = peer
        self.rest = memoryview(b"")  # unpacked, not yet handed out

    def send(self, data: memoryview) -> int:
        block = lz4.block.compress(data, store_size=False)
        self.socket.sendall(HEAD.pack(len(block)) + block)
        return len(data)

    def receive_into(self, room: memoryview) -> int:
        if not self.rest:
            self.rest = memoryview(self.next_block())
        count = min(len(room), len(self.rest))
        room[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count

    def next_block(self) -> bytes:
        """The next block, unpacked; empty at the end."""
        head = self.exactly(HEAD.size)
        if not head:
            return b""
        (length,) = HEAD.unpack(head)
        if not 0 < length <= MOST_PACKED:
            raise OSError(f"{self.peer} sent a block of {length} bytes: does it use this transport?")
        try:
            return bytes(lz4.block.decompress(self.exactly(length), uncompressed_size=MOST))
        except lz4.block.LZ4BlockError as error:
            raise OSError(f"{self.peer} sent a broken block: {error}") from None

    def exactly(self, size: int) -> bytes:
        """size bytes; none if the peer has finished before the first."""
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part and not data and size == HEAD.size:
                break
            if not part:
                raise OSError(f"{self.peer} ended inside a block")
            data += part
        return bytes(data)

    def finish(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits; close alone doesn't
        except OSError:
            pass
        self.socket.close()


class CompressedListener(StreamListener):
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_server((host, port))
        self.address = "{}:{}".format(*self.socket.getsockname())

    def accept(self) -> Stream:
        connected, (host, port) = self.socket.accept()
        return CompressedStream(connected, f"{host}:{port}")

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class CompressedTransport(Transport):
    """Addresses are HOST:PORT."""

    def connect(self, address: str, timeout: float) -> Stream:
        try:
            connected = socket.create_connection(split_address(address), timeout)
        except ValueError as error:
            raise OSError(str(error)) from None
        connected.settimeout(None)
        return CompressedStream(connected, address)

    def listen(self, address: str) -> StreamListener:
        return CompressedListener(*split_address(address or "127.0.0.1:0"))
