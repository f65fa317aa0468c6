"""A bare TCP connection for tests, and the suite's helpers."""

from __future__ import annotations

import socket

from remora.transport.conformance.ends import in_child, in_thread, wait_until
from remora.transport.conformance.frames import BULK, FRAME, RECORDS, URGENT, frame, record

__all__ = [
    "BULK",
    "FRAME",
    "RECORDS",
    "URGENT",
    "frame",
    "in_child",
    "in_thread",
    "record",
    "sockets",
    "wait_until",
]


def sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
