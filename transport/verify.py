"""Checks a FlatBuffers message against SHAPES before anything of it is read.

Python's FlatBuffers runtime trusts offsets; a control message comes from strangers. Every offset, length
and vtable is checked here, and the work is bounded. Format: the FlatBuffers internals page.
"""

from __future__ import annotations

import struct

from .generated.shapes import SHAPES

MAX_TABLES = 10_000


class Malformed(ValueError):
    """The bytes are no message of this schema."""


class _Checker:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tables = 0

    def number(self, at: int, code: str) -> int:
        size = struct.calcsize(code)
        if at < 0 or at + size > len(self.data):
            raise Malformed(f"an offset leaves the message ({at} of {len(self.data)} bytes)")
        return int(struct.unpack_from("<" + code, self.data, at)[0])

    def span(self, at: int, size: int) -> None:
        if at < 0 or size < 0 or at + size > len(self.data):
            raise Malformed(f"{size} bytes at {at} leave the message of {len(self.data)} bytes")

    def follow(self, at: int) -> int:
        return at + self.number(at, "I")

    def vector(self, at: int, width: int) -> tuple[int, int]:
        start = self.follow(at)
        count = self.number(start, "I")
        self.span(start + 4, count * width)
        return start + 4, count

    def string(self, at: int) -> None:
        start, count = self.vector(at, 1)
        try:
            self.data[start : start + count].decode()
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8") from None

    def field(self, at: int, kind: str) -> None:
        if kind == "string":
            self.string(at)
        elif kind.startswith("scalars "):
            self.vector(at, int(kind[8:]))
        elif kind.startswith("tables "):
            start, count = self.vector(at, 4)
            for i in range(count):
                self.table(self.follow(start + 4 * i), kind[7:])

    def table(self, at: int, name: str) -> None:
        self.tables += 1
        if self.tables > MAX_TABLES:
            raise Malformed(f"more than {MAX_TABLES} tables")
        vtable = at - self.number(at, "i")
        vtable_size, size = self.number(vtable, "H"), self.number(vtable + 2, "H")
        if vtable_size < 4 or vtable_size % 2 or size < 4:
            raise Malformed("a table without a proper vtable")
        self.span(vtable, vtable_size)
        self.span(at, size)
        self.fields(at, vtable, vtable_size, size, name)

    def fields(self, at: int, vtable: int, vtable_size: int, size: int, name: str) -> None:
        for i, kind in enumerate(SHAPES[name][: vtable_size // 2 - 2]):
            offset = self.number(vtable + 4 + 2 * i, "H")
            width = int(kind[7:]) if kind.startswith("scalar ") else 4
            if offset and not 4 <= offset <= size - width:
                raise Malformed(f"field {i} of {name} leaves its table")
            if offset:
                self.field(at + offset, kind)


def verify(data: bytes, name: str) -> None:
    """Raises :class:`Malformed` unless ``data`` is a buffer whose root is a well-formed table ``name``."""
    checker = _Checker(data)
    checker.table(checker.follow(0), name)
