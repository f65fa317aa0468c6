"""Reads the counters that the shim leaves in $REMORA_STATS, a page for each process (shim/runtime/stats.h).

Must not know: how the counts are shown. A page is another program's bytes: what doesn't fit is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

MAGIC, VERSION = b"RMST", 1
HEADER = struct.Struct("<4s 5I Q 64s 64s 256s 9Q")
COUNTERS = (
    "posted",
    "waited",
    "wait_ns",
    "copied_in",
    "copied_out",
    "callbacks",
    "pulls",
    "local_queries",
    "attach_ns",
)
STATES = ("never attached", "attached", "ended")
SYMBOL = struct.Struct("<4Q")


class BadPage(ValueError):
    """The file is no page of counters, or one of another build."""


@dataclass(frozen=True)
class Symbol:
    """What one exported function saw. wait_ns: nanoseconds in all of its waits together."""

    name: str
    calls: int
    waits: int
    wait_ns: int
    unsupported: int


@dataclass(frozen=True)
class Page:
    """What one process asked of the driver.

    posted: records that nothing waited for; waited: round trips; copied_in and copied_out: bytes of copies
    to the device and back; times are nanoseconds.
    """

    pid: int
    state: str  # one of STATES
    program: str
    server: str  # HOST:PORT
    why: str  # why the session ended or could not start; empty when all went well
    posted: int
    waited: int
    wait_ns: int
    copied_in: int
    copied_out: int
    callbacks: int
    pulls: int
    local_queries: int
    attach_ns: int
    symbols: list[Symbol] = field(repr=False)

    @property
    def calls(self) -> int:
        return sum(symbol.calls for symbol in self.symbols)


def parse(raw: bytes, names: list[str]) -> Page:
    """One page; names of the exports in the table's order. Raises BadPage."""
    if len(raw) < HEADER.size:
        raise BadPage(f"{len(raw)} bytes hold no header")
    magic, version, start, count, pid, state, _hash, program, server, why, *counters = HEADER.unpack_from(raw)
    if magic != MAGIC or version != VERSION or count != len(names) or start < HEADER.size:
        raise BadPage("it comes from another build of the shim")
    if len(raw) < start + count * SYMBOL.size:
        raise BadPage("it is cut short")
    rows = SYMBOL.iter_unpack(raw[start : start + count * SYMBOL.size])
    symbols = [Symbol(name, *row) for name, row in zip(names, rows, strict=True)]
    words = STATES[min(state, len(STATES) - 1)]
    counts = dict(zip(COUNTERS, counters, strict=True))
    return Page(pid, words, text(program), text(server), text(why), symbols=symbols, **counts)


def text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def read_folder(folder: Path) -> list[Page]:
    """The pages of all processes that loaded the shim, in the order of their pids. Raises BadPage."""
    from remora.shim.generated.symbols import SYMBOLS

    names = [entry[0] for entry in SYMBOLS]
    pages = []
    for file in sorted(folder.glob("*.stats")):
        try:
            pages.append(parse(file.read_bytes(), names))
        except BadPage as error:
            raise BadPage(f"{file}: {error}") from None
    return sorted(pages, key=lambda page: page.pid)
