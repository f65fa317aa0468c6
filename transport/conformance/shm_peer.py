"""A client of the carrier shm in Python alone: writes any bytes it likes into the area (shm.h, docs/wire.md).

An independent check of how the area is laid out, and a hostile peer.
"""

from __future__ import annotations

import mmap
import os
import secrets
import socket
import struct
import time
from contextlib import closing
from pathlib import Path

STREAM = 256 << 10
FRONT = 4096
PIPES = (64, 320)  # to the server, to the client
HEAD, TAIL, READER_SLEEPS, WRITER_SLEEPS, TURN, FILE, PLACE = 0, 64, 128, 132, 192, 196, 200
ATTACHED = 0x53485231
SECONDS = 10.0


class ShmPeer:
    """Plays the client over a TCP connection to a listener of the suite."""

    def __init__(self, lifeline: socket.socket) -> None:
        from .backend import receive_blob, send_blob

        self.lifeline = lifeline
        name = secrets.token_hex(12).encode()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36]
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as door:
            door.bind(b"\0" + name)
            door.settimeout(SECONDS)
            send_blob(lifeline, struct.pack("<II40s24s", 2, 0, boot_id, name))
            grant = receive_blob(lifeline)
            said, fds, _, _ = socket.recv_fds(door, 64, 8)
        assert said == grant and len(fds) == 6
        area, self.files, *self.bells = fds
        self.area = mmap.mmap(area, FRONT + 2 * STREAM)
        os.close(area)
        self.put(0, "I", ATTACHED)
        send_blob(lifeline, b"")
        assert receive_blob(lifeline) == b"connected"

    def get(self, at: int, code: str) -> int:
        return int(struct.unpack_from("<" + code, self.area, at)[0])

    def put(self, at: int, code: str, value: int) -> None:
        struct.pack_into("<" + code, self.area, at, value)

    def ring(self, bell: int) -> None:
        """bell: of the six descriptors, the peer's reader is the fifth and its writer the sixth."""
        os.write(self.bells[bell], struct.pack("<Q", 1))

    def sendall(self, data: bytes) -> None:
        """Writes into the stream to the server, waiting for room."""
        end = time.monotonic() + SECONDS
        while data:
            head = self.get(PIPES[0] + HEAD, "Q")
            room = STREAM - (head - self.get(PIPES[0] + TAIL, "Q"))
            part = data[: min(room, STREAM - head % STREAM)]
            if not part:
                if self.get(PIPES[0] + TAIL, "Q") > head or time.monotonic() > end:
                    raise BrokenPipeError("the server takes nothing")
                time.sleep(0.001)
                continue
            at = FRONT + head % STREAM
            self.area[at : at + len(part)] = part
            self.publish(head + len(part))
            data = data[len(part) :]

    def publish(self, head: int) -> None:
        """Says how much was written in all."""
        self.put(PIPES[0] + HEAD, "Q", head)
        self.ring(2)

    def recv(self, size: int) -> bytes:
        """What the server wrote; nothing once it has ended."""
        end = time.monotonic() + SECONDS
        while True:
            over = self.server_ended()
            tail, head = self.get(PIPES[1] + TAIL, "Q"), self.get(PIPES[1] + HEAD, "Q")
            n = min(size, head - tail, STREAM - tail % STREAM)
            if n:
                at = FRONT + STREAM + tail % STREAM
                data = bytes(self.area[at : at + n])
                self.put(PIPES[1] + TAIL, "Q", tail + n)
                return data
            if over:
                return b""
            assert time.monotonic() < end, "nothing came"
            time.sleep(0.001)

    def server_ended(self) -> bool:
        self.lifeline.setblocking(False)
        try:
            return not self.lifeline.recv(1)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Dies, as far as the server can see."""
        self.lifeline.close()
        for fd in (self.files, *self.bells):
            os.close(fd)
        self.bells, self.files = [], os.open("/dev/null", os.O_RDONLY)
