"""Copies against a raw stream over one TCP connection: same bytes, same chunks, checked at both ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from remora.bench import raw
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.plan import MIB, Plan
from remora.bench.remote import Server
from remora.bench.stats import Interleaved, median_interval
from remora.bench.test_calls import suffix

pytestmark = pytest.mark.timeout(400)


class Ends:
    """Our program and the raw one, connected anew for each round: connections of one pair differ in speed."""

    def __init__(self, server: Server, place: Placement, ours: str, plain: raw.Stream, repeats: int) -> None:
        self.server, self.place = server, place
        self.words, self.plain, self.repeats = ours, plain, repeats
        self.open = ExitStack()

    def renew(self) -> None:
        self.open.close()
        self.client = self.open.enter_context(self.server.client())
        partner = self.open.enter_context(raw.pair("stream", self.place))
        self.plain = dataclasses.replace(self.plain, client=partner)

    def ours(self) -> float:
        return self.client.ask(self.words)["p50_ns"]

    def theirs(self) -> float:
        return self.plain.p50_ns(self.repeats)


@pytest.mark.parametrize("direction", ["htod", "dtoh"])
def test_copy(
    place: Placement,
    server: Server,
    sizes: Plan,
    direction: str,
    copy: tuple[int, int],
    rounds: Callable[[Interleaved, int], Interleaved],
    keep: Callable[[Figure], None],
) -> None:
    size, repeats = copy
    with raw.pair("stream", place) as partner:
        plain = raw.fastest_stream(partner, place, direction, size, sizes.chunk)
    ends = Ends(server, place, f"{direction} {size} pageable {repeats}", plain, repeats)
    # Times are compared, and the ratio turned over: 1 means as fast as the raw stream.
    times = Interleaved(ends.ours, ends.theirs, turned=True, renew=ends.renew)
    with ends.open:
        rounds(times, sizes.copy_rounds)
    conditions = {
        "mib": size // MIB,
        "placement": place.condition,
        "gb_per_s": size / median_interval(times.a_values).median,
        "raw_gb_per_s": size / median_interval(times.b_values).median,
        "raw_wait": plain.wait,
        "chunk": sizes.chunk,
        "rounds": len(times.ratios),
    }
    name = f"copy_{direction}.tcp{suffix(place)}.{size // MIB}MiB"
    keep(Figure.of(name, times.interval(), "x raw stream", **conditions))
