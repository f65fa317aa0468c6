"""A waiting call against a raw ping-pong of the same bytes; what a posted call costs its caller."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from remora.bench import raw
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.plan import Plan
from remora.bench.programs import Program
from remora.bench.remote import Operations, Server
from remora.bench.stats import Interleaved, median_interval

pytestmark = pytest.mark.timeout(400)

# Changes nothing, is never answered from a cache, and touches no stream.
WAITING_CALL = "cuCtxGetLimit"
POSTED_CALLS = ("cuLaunchKernel", "cuMemsetD8Async", "cuEventRecord")
RECORD_AND_REPLY = (16, 24)  # bytes: less than this each way, and the call was not forwarded


def suffix(place: Placement) -> str:
    """The steadiest placement gives the figure its plain name."""
    return "" if place.name == "one" else f".{place.name}"


def carried_bytes(answer: dict[str, float]) -> tuple[int, int]:
    """Bytes each way per call as the kernel counted them; proves that every call went over the wire."""
    sent, received = round(answer["sent"]), round(answer["received"])
    assert sent >= RECORD_AND_REPLY[0] and received >= RECORD_AND_REPLY[1], f"not forwarded: {answer}"
    return sent, received


def test_sync_call(
    place: Placement,
    client: Program,
    server: Server,
    sizes: Plan,
    rounds: Callable[[Interleaved, int], Interleaved],
    keep: Callable[[Figure], None],
) -> None:
    command = f"wait {WAITING_CALL} {sizes.calls}"
    out_bytes, in_bytes = carried_bytes(client.ask(command))
    before, asked = server.operations(), client.asked
    with raw.pair("pingpong", place) as partner:
        plain = raw.fastest_pingpong(partner, place, out_bytes, in_bytes)
        times = Interleaved(lambda: client.ask(command)["p50_ns"], lambda: plain.p50_ns(sizes.calls))
        rounds(times, sizes.latency_rounds)
    made = (client.asked - asked) * sizes.calls
    assert server.operations() - before == Operations(made, made), "the engine did not see every call"
    conditions = {
        "call": WAITING_CALL,
        "placement": place.condition,
        "p50_ns": median_interval(times.a_values).median,
        "raw_p50_ns": median_interval(times.b_values).median,
        "raw_wait": plain.wait,
        "bytes_out": out_bytes,
        "bytes_in": in_bytes,
        "calls": sizes.calls,
        "rounds": len(times.ratios),
    }
    keep(Figure.of(f"sync_call.tcp{suffix(place)}", times.interval(), "x raw ping-pong", **conditions))


def test_work_call(
    place: Placement,
    client: Program,
    sizes: Plan,
    rounds: Callable[[Interleaved, int], Interleaved],
    keep: Callable[[Figure], None],
) -> None:
    """A posted memset and the wait for its stream: what the engine adds to learn that work is done."""
    command = f"post cuMemsetD8Async {sizes.calls} 1"
    out_bytes, in_bytes = carried_bytes(client.ask(f"wait {WAITING_CALL} {sizes.calls}"))
    with raw.pair("pingpong", place) as partner:
        plain = raw.fastest_pingpong(partner, place, out_bytes, in_bytes)
        times = Interleaved(lambda: client.ask(command)["burst_p50_ns"], lambda: plain.p50_ns(sizes.calls))
        rounds(times, sizes.copy_rounds)
    conditions = {
        "call": "cuMemsetD8Async + cuStreamSynchronize",
        "placement": place.condition,
        "p50_ns": median_interval(times.a_values).median,
        "raw_p50_ns": median_interval(times.b_values).median,
        "rounds": len(times.ratios),
    }
    keep(Figure.of(f"work_call.tcp{suffix(place)}", times.interval(), "x raw ping-pong", **conditions))


@pytest.mark.parametrize("call", POSTED_CALLS)
def test_posted_call(
    place: Placement,
    client: Program,
    server: Server,
    sizes: Plan,
    call: str,
    rounds: Callable[[Interleaved, int], Interleaved],
    keep: Callable[[Figure], None],
) -> None:
    command = f"post {call} {sizes.bursts} {sizes.burst}"
    record = max(16, round(client.ask(command)["sent"] / 8) * 8)
    before, asked = server.operations(), client.asked
    with raw.pair("ringput", place) as ring:
        put = f"run {record} {sizes.bursts} {sizes.burst}"
        times = Interleaved(lambda: client.ask(command)["cpu_ns"], lambda: ring.ask(put)["cpu_ns"])
        rounds(times, sizes.latency_rounds)
    last = client.ask(command)
    made = (client.asked - asked) * sizes.bursts
    expected = Operations(made * (sizes.burst + 1), made)  # each burst ends with a wait
    assert server.operations() - before == expected, "the engine did not see every call"
    conditions = {
        "call": call,
        "placement": place.condition,
        "bytes_out": record,
        "burst": sizes.burst,
        "wall_ns": last["wall_ns"],
        "drained_ns": last["drained_ns"],
        "rounds": len(times.ratios),
    }
    name = ("" if call == POSTED_CALLS[0] else f".{call}") + suffix(place)
    keep(Figure.of(f"posted_call.tcp{name}", median_interval(times.a_values), "ns", **conditions))
    keep(Figure.of(f"posted_call_vs_ring.tcp{name}", times.interval(), "x raw ring put", **conditions))
