"""Copies against a raw stream over one TCP connection: same bytes, same chunks, checked at both ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from remora.bench import raw
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.plan import MIB, Plan
from remora.bench.programs import Program
from remora.bench.stats import Interleaved, median_interval
from remora.bench.test_calls import suffix

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("direction", ["htod", "dtoh"])
def test_copy(
    place: Placement,
    client: Program,
    sizes: Plan,
    direction: str,
    copy: tuple[int, int],
    rounds: Callable[[Interleaved, int], Interleaved],
    keep: Callable[[Figure], None],
) -> None:
    size, repeats = copy
    ours = f"{direction} {size} pageable {repeats}"
    with raw.pair("stream", place) as partner:
        plain = raw.fastest_stream(partner, place, direction, size, sizes.chunk)
        # Times are compared, and the ratio turned over: 1 means as fast as the raw stream.
        times = Interleaved(lambda: client.ask(ours)["p50_ns"], lambda: plain.p50_ns(repeats), turned=True)
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
