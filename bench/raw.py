"""The plain programs that figures are compared with, each a pair of processes, and their ways to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from remora.bench.placement import Placement
from remora.bench.programs import Program, build

# enum bench_wait in bench/common/tcp.h
WAITS = {"spin": 0, "yield": 1, "spin-then-sleep": 2, "sleep": 3}
SPIN_US = 50


@contextmanager
def pair(name: str, placement: Placement) -> Iterator[Program]:
    """A raw program's two processes; yields the client."""
    path = build(name)
    with Program([path, "server"], placement.server) as server:
        port = int(server.answer(10)["port"])
        with Program([path, "client", str(port)], placement.client) as client:
            yield client


@dataclass(frozen=True)
class PingPong:
    """A ping-pong of given sizes under the wait policy that was the fastest here."""

    client: Program
    out_bytes: int
    in_bytes: int
    wait: str

    def p50_ns(self, count: int) -> float:
        words = f"run {WAITS[self.wait]} {SPIN_US} {self.out_bytes} {self.in_bytes} {count}"
        return self.client.ask(words)["p50_ns"]


@dataclass(frozen=True)
class Stream:
    """A stream of bytes one way under the wait policy that was the fastest here."""

    client: Program
    direction: str
    bytes: int
    chunk: int
    wait: str

    def p50_ns(self, repeats: int) -> float:
        words = f"{self.direction} {self.bytes} {self.chunk} {WAITS[self.wait]} {SPIN_US} {repeats}"
        return self.client.ask(words)["p50_ns"]


@dataclass(frozen=True)
class Copy:
    """A memcpy to or from shared memory with its hand-over, under the fastest of the wait policies."""

    client: Program
    direction: str
    bytes: int
    wait: str

    def p50_ns(self, repeats: int) -> float:
        return self.client.ask(f"{self.direction} {self.bytes} {repeats} {WAITS[self.wait]}")["p50_ns"]


def usable_waits(placement: Placement) -> list[str]:
    """Two ends that spin on one CPU only wait for the scheduler's tick: that policy is left out there."""
    return [w for w in WAITS if w != "spin" or placement.client != placement.server]


def fastest_stream(client: Program, placement: Placement, direction: str, size: int, chunk: int) -> Stream:
    """Tries the policies that sleep in the end, as Remora's own does, and keeps the fastest.

    A receiver that looks for ever holds a processor between copies, so it never pays for being woken.
    """
    streams = [Stream(client, direction, size, chunk, wait) for wait in ("spin-then-sleep", "sleep")]
    return min(streams, key=lambda stream: min(stream.p50_ns(2) for _ in range(2)))


def fastest_copy(client: Program, placement: Placement, direction: str, size: int) -> Copy:
    """Tries every wait policy and keeps the fastest."""
    runs = [Copy(client, direction, size, wait) for wait in usable_waits(placement)]
    return min(runs, key=lambda run: min(run.p50_ns(2) for _ in range(2)))


def fastest_pingpong(client: Program, placement: Placement, out_bytes: int, in_bytes: int) -> PingPong:
    """Tries every wait policy and keeps the fastest."""
    runs = [PingPong(client, out_bytes, in_bytes, wait) for wait in usable_waits(placement)]
    return min(runs, key=lambda run: min(run.p50_ns(2000) for _ in range(2)))
