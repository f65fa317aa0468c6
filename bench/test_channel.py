"""The channel alone, without shim, engine or driver: tells a slow channel from a slow engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from remora.bench import raw
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.plan import MIB, Plan
from remora.bench.stats import Interleaved, median_interval
from remora.bench.test_calls import carried_bytes, suffix

pytestmark = pytest.mark.timeout(400)

Rounds = Callable[[Interleaved, int], Interleaved]
Keep = Callable[[Figure], None]
BODY = 8  # bytes after the record's header: a small call
COPY = (16 * MIB, 4)


def test_channel_call(place: Placement, sizes: Plan, rounds: Rounds, keep: Keep) -> None:
    command = f"wait {BODY} {sizes.calls}"
    with raw.pair("channel", place) as channel, raw.pair("pingpong", place) as partner:
        out_bytes, in_bytes = carried_bytes(channel.ask(command))
        plain = raw.fastest_pingpong(partner, place, out_bytes, in_bytes)
        times = Interleaved(lambda: channel.ask(command)["p50_ns"], lambda: plain.p50_ns(sizes.calls))
        rounds(times, sizes.latency_rounds)
    conditions = {
        "placement": place.condition,
        "p50_ns": median_interval(times.a_values).median,
        "raw_p50_ns": median_interval(times.b_values).median,
        "raw_wait": plain.wait,
        "bytes_out": out_bytes,
        "bytes_in": in_bytes,
    }
    keep(Figure.of(f"channel_call.tcp{suffix(place)}", times.interval(), "x raw ping-pong", **conditions))


def test_channel_batch(place: Placement, sizes: Plan, rounds: Rounds, keep: Keep) -> None:
    """63 posted calls and a waiting one, as in a step of a program, against one ping-pong."""
    posted, batches = 63, max(2, sizes.calls // 64)
    command = f"post {BODY} {batches} {posted}"
    with raw.pair("channel", place) as channel, raw.pair("pingpong", place) as partner:
        out_bytes, in_bytes = carried_bytes(channel.ask(f"wait {BODY} {batches}"))
        plain = raw.fastest_pingpong(partner, place, out_bytes, in_bytes)
        times = Interleaved(lambda: channel.ask(command)["burst_p50_ns"], lambda: plain.p50_ns(sizes.calls))
        rounds(times, sizes.latency_rounds)
    conditions = {"placement": place.condition, "posted": posted, "batches": batches}
    keep(Figure.of(f"channel_batch.tcp{suffix(place)}", times.interval(), "x raw ping-pong", **conditions))


@pytest.mark.parametrize("direction", ["htod", "dtoh"])
def test_channel_copy(place: Placement, sizes: Plan, direction: str, rounds: Rounds, keep: Keep) -> None:
    command = f"{direction} {COPY[0]} {sizes.chunk} {COPY[1]}"
    with raw.pair("channel", place) as channel, raw.pair("stream", place) as partner:
        plain = raw.fastest_stream(partner, place, direction, COPY[0], sizes.chunk)
        times = Interleaved(
            lambda: channel.ask(command)["p50_ns"], lambda: plain.p50_ns(COPY[1]), turned=True
        )
        rounds(times, sizes.copy_rounds)
    conditions = {
        "placement": place.condition,
        "gb_per_s": COPY[0] / median_interval(times.a_values).median,
        "raw_wait": plain.wait,
        "raw_gb_per_s": COPY[0] / median_interval(times.b_values).median,
    }
    name = f"channel_{direction}.tcp{suffix(place)}"
    keep(Figure.of(name, times.interval(), "x raw stream", **conditions))
