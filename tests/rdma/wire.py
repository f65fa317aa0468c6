"""The rdma carrier's wire, written a second time: from docs/wire.md and transport/rdma_wire.h, in Python.

Must not know: verbs, how the carrier does it.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, fields

MAGIC, VERSION = 0x52444D52, 1
END = struct.Struct("<II16sHBB10I4xQQII")
NOTICE = struct.Struct("<4B5IQII")
NOTICE_BYTES = 168  # a place in the box
FOLLOWING_MOST = 128
CREDIT, RECORDS, NOTE, BULK, BOXED, READ = range(1, 7)
PROMPT = 1  # a flag of READ: the sender waits to hear that the message was read
URGENT, PING, PONG, BYE = range(1, 5)  # notes


@dataclass
class EndBlob:
    """What a side says of itself."""

    gid: bytes
    mtu: int
    ring_qp: int
    ring_psn: int
    bulk_qp: int
    bulk_psn: int
    reads: int
    receives: int
    box_slot: int
    window: int
    ring_bytes: int
    ring_key: int
    ring_at: int
    box_at: int
    box_key: int
    lid: int = 0
    port: int = 1

    def pack(self) -> bytes:
        pairs = (self.ring_qp, self.ring_psn, self.bulk_qp, self.bulk_psn, self.reads, self.receives)
        memory = (self.box_slot, self.window, self.ring_bytes, self.ring_key, self.ring_at, self.box_at)
        return END.pack(
            MAGIC, VERSION, self.gid, self.lid, self.mtu, self.port, *pairs, *memory, self.box_key, 0
        )

    @classmethod
    def unpack(cls, blob: bytes) -> EndBlob:
        magic, version, gid, lid, mtu, port, *rest = END.unpack(blob)
        assert (magic, version) == (MAGIC, VERSION)
        *rest, reserved = rest
        assert reserved == 0
        return cls(gid, mtu, *rest, lid=lid, port=port)

    def notice_place(self, count: int) -> int:
        """Where in this side's box the notice goes that comes with its count-th immediate."""
        return self.box_at + count % self.receives * NOTICE_BYTES

    def bulk_place(self, kind: int, number: int) -> int:
        """Where the number-th small bulk message goes. kind 0: of tag 0; 1: of other tags."""
        place = kind * self.window + number % self.window
        return self.box_at + self.receives * NOTICE_BYTES + place * self.box_slot

    @property
    def box_bytes(self) -> int:
        return self.bulk_place(1, self.window - 1) + self.box_slot - self.box_at


@dataclass
class Notice:
    kind: int
    note: int = 0
    bulk: tuple[int, int] = (0, 0)
    ring: int = 0
    taken: int = 0
    fetched: int = 0
    n: int = 0
    tag: int = 0
    at: int = 0
    key: int = 0
    following: bytes = b""

    def pack(self) -> bytes:
        kind, note, bulk, *numbers = astuple(self)[: len(fields(self)) - 1]
        return NOTICE.pack(kind, note, *bulk, *numbers, 0) + self.following

    @classmethod
    def unpack(cls, data: bytes) -> Notice:
        kind, note, bulk0, bulk1, *numbers, flags = NOTICE.unpack_from(data)
        assert flags in (0, PROMPT if kind == READ else 0)
        found = cls(kind, note, (bulk0, bulk1), *numbers)
        if kind in (NOTE, BULK):
            found.following = data[NOTICE.size :][: found.n]
        return found


@dataclass
class Brief:
    """What the immediate data of a write of records says."""

    n: int
    ring: int = 0
    bulk: tuple[int, int] = (0, 0)
    taken: int = 0

    def pack(self, count: int) -> int:
        assert self.n % 8 == self.ring % 8 == 0
        free = self.ring // 8 << 7 | self.bulk[0] << 5 | self.bulk[1] << 3 | self.taken
        return (count & 7) << 28 | self.n // 8 << 17 | free

    @classmethod
    def unpack(cls, imm: int) -> Brief:
        return cls((imm >> 17 & 0x7FF) * 8, (imm >> 7 & 0x3FF) * 8, (imm >> 5 & 3, imm >> 3 & 3), imm & 7)

    @property
    def fits(self) -> bool:
        return self.n < 1 << 14 and self.ring < 1 << 13 and max(self.bulk) < 4 and self.taken < 8


def notice_imm(count: int) -> int:
    return 1 << 31 | count & 0x7FFFFFFF


def in_order(imm: int, count: int) -> bool:
    """Whether imm can be the count-th immediate of its sender."""
    return imm == notice_imm(count) if imm >> 31 else imm >> 28 == count & 7
