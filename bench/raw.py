"""The plain programs that figures are compared with: a ping-pong and a stream over one TCP connection."""

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
        return _run(self.client, self.wait, self.out_bytes, self.in_bytes, count)


def _run(client: Program, wait: str, out_bytes: int, in_bytes: int, count: int) -> float:
    return client.ask(f"run {WAITS[wait]} {SPIN_US} {out_bytes} {in_bytes} {count}")["p50_ns"]


def fastest_pingpong(client: Program, placement: Placement, out_bytes: int, in_bytes: int) -> PingPong:
    """Tries every wait policy and keeps the fastest. Two ends that spin on one CPU only wait for the
    scheduler's tick (milliseconds), so that policy is left out there."""
    usable = [w for w in WAITS if w != "spin" or placement.client != placement.server]
    trial = {w: min(_run(client, w, out_bytes, in_bytes, 2000) for _ in range(2)) for w in usable}
    return PingPong(client, out_bytes, in_bytes, min(trial, key=lambda wait: trial[wait]))
