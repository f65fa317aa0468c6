"""Frames and records by hand, for peers that break the rules (docs/wire.md)."""

from __future__ import annotations

import struct

FRAME = struct.Struct("<BBBBIII")  # kind, released bulk (tag 0, others), reserved, length, tag, released ring
RECORDS, BULK, URGENT, CREDIT, PING, PONG, BYE, PLACED, LANDED = range(1, 10)


def frame(
    kind: int, payload: bytes = b"", *, tag: int = 0, ring: int = 0, bulk: tuple[int, int] = (0, 0)
) -> bytes:
    return FRAME.pack(kind, *bulk, 0, len(payload), tag, ring) + payload


def record(op: int, payload: bytes = b"", *, size: int | None = None, seq: int = 1) -> bytes:
    size = 16 + len(payload) if size is None else size
    data = struct.pack("<HHIIHH", op, 0, size, seq, 0, 0) + payload
    return data + bytes(-len(data) % 8)
