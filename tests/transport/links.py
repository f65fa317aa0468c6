"""Pairs of channels for tests: within this process, or with a peer process of its own."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from remora.transport._channel import Channel

FRAME = struct.Struct("<BBBBIII")  # kind, released bulk (tag 0, others), reserved, length, tag, released ring
RECORDS, BULK, URGENT, CREDIT, PING, PONG, BYE = range(1, 8)


def sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def pair(**options: Any) -> tuple[Channel, Channel]:
    """A client's channel (service threads, replies delivered) and an engine's one with its reader running."""
    near, far = sockets()
    client = Channel(near.detach(), service=True, deliver=True, peer="engine", **options)
    engine = Channel(far.detach(), peer="client", **options)
    engine.start_reader()
    return client, engine


def raw_pair(**options: Any) -> tuple[Channel, socket.socket]:
    """An engine's channel, and a bare socket that plays its client."""
    near, far = sockets()
    engine = Channel(far.detach(), peer="client", **options)
    engine.start_reader()
    near.settimeout(10)
    return engine, near


def frame(
    kind: int, payload: bytes = b"", *, tag: int = 0, ring: int = 0, bulk: tuple[int, int] = (0, 0)
) -> bytes:
    return FRAME.pack(kind, *bulk, 0, len(payload), tag, ring) + payload


def record(op: int, payload: bytes = b"", *, size: int | None = None, seq: int = 1) -> bytes:
    size = 16 + len(payload) if size is None else size
    data = struct.pack("<HHIIHH", op, 0, size, seq, 0, 0) + payload
    return data + bytes(-len(data) % 8)


def in_thread(work: Callable[..., Any], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Waits for a condition; AssertionError when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.002)


def in_child(work: Callable[[], Any]) -> int:
    """Runs work in a forked child, which exits 0 if it returns. Returns its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid
