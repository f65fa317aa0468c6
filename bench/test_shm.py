"""Over shared memory: calls against a raw ping-pong in shared memory, copies against memcpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from remora.bench import raw
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.plan import MIB, Plan
from remora.bench.programs import Program
from remora.bench.remote import Operations, Server
from remora.bench.stats import Interleaved, median_interval
from remora.bench.test_calls import POSTED_CALLS, WAITING_CALL

pytestmark = pytest.mark.timeout(400)

Rounds = Callable[[Interleaved, int], Interleaved]
Keep = Callable[[Figure], None]
CALL_BYTES, REPLY_BYTES = 40, 48  # of the waiting call, frames included
POSTED_BYTES = {"cuLaunchKernel": 88, "cuMemsetD8Async": 48, "cuEventRecord": 40}


def suffix(place: Placement) -> str:
    """Two processors are what shared memory is for: they give the figure its plain name."""
    return ".one" if place.client == place.server else ""


@pytest.fixture(scope="session")
def near_server(place: Placement) -> Iterator[Server]:
    with Server(place, transport="shm") as running:
        yield running


@pytest.fixture
def near_client(near_server: Server) -> Iterator[Program]:
    with near_server.client() as program:
        yield program


def test_sync_call_shm(
    place: Placement, near_client: Program, near_server: Server, sizes: Plan, rounds: Rounds, keep: Keep
) -> None:
    command = f"wait {WAITING_CALL} {sizes.calls}"
    near_client.ask(command)
    before, asked = near_server.operations(), near_client.asked
    with raw.pair("shmpong", place) as partner:
        plain = raw.fastest_pingpong(partner, place, CALL_BYTES, REPLY_BYTES)
        times = Interleaved(lambda: near_client.ask(command)["p50_ns"], lambda: plain.p50_ns(sizes.calls))
        rounds(times, sizes.latency_rounds)
    made = (near_client.asked - asked) * sizes.calls
    assert near_server.operations() - before == Operations(made, made), "the engine did not see every call"
    above = median_interval([a - b for a, b in zip(times.a_values, times.b_values, strict=True)])
    conditions = {
        "call": WAITING_CALL,
        "placement": place.condition,
        "p50_ns": median_interval(times.a_values).median,
        "raw_p50_ns": median_interval(times.b_values).median,
        "raw_wait": plain.wait,
        "calls": sizes.calls,
        "rounds": len(times.ratios),
    }
    keep(Figure.of(f"sync_call.shm{suffix(place)}", above, "ns above a raw ping-pong", **conditions))


@pytest.mark.parametrize("call", POSTED_CALLS)
def test_posted_call_shm(
    place: Placement,
    near_client: Program,
    near_server: Server,
    sizes: Plan,
    call: str,
    rounds: Rounds,
    keep: Keep,
) -> None:
    command = f"post {call} {sizes.bursts} {sizes.burst}"
    near_client.ask(command)
    before, asked = near_server.operations(), near_client.asked
    with raw.pair("ringput", place) as ring:
        put = f"run {POSTED_BYTES[call]} {sizes.bursts} {sizes.burst}"
        times = Interleaved(lambda: near_client.ask(command)["cpu_ns"], lambda: ring.ask(put)["cpu_ns"])
        rounds(times, sizes.latency_rounds)
    made = (near_client.asked - asked) * sizes.bursts
    expected = Operations(made * (sizes.burst + 1), made)  # each burst ends with a wait
    assert near_server.operations() - before == expected, "the engine did not see every call"
    conditions = {"call": call, "placement": place.condition, "rounds": len(times.ratios)}
    name = ("" if call == POSTED_CALLS[0] else f".{call}") + suffix(place)
    keep(Figure.of(f"posted_call.shm{name}", median_interval(times.a_values), "ns", **conditions))
    keep(Figure.of(f"posted_call_vs_ring.shm{name}", times.interval(), "x raw ring put", **conditions))


@pytest.mark.parametrize("direction", ["htod", "dtoh"])
def test_copy_shm(
    place: Placement,
    near_client: Program,
    sizes: Plan,
    direction: str,
    copy: tuple[int, int],
    rounds: Rounds,
    keep: Keep,
) -> None:
    size, repeats = copy
    with raw.pair("memcopy", place) as partner:
        plain = raw.fastest_copy(partner, place, direction, size)
        # Times are compared, and the ratio turned over: 1 means as fast as memcpy.
        times = Interleaved(
            lambda: near_client.ask(f"{direction} {size} pageable {repeats}")["p50_ns"],
            lambda: plain.p50_ns(repeats),
            turned=True,
        )
        rounds(times, sizes.copy_rounds)
    conditions = {
        "mib": size // MIB,
        "placement": place.condition,
        "gb_per_s": size / median_interval(times.a_values).median,
        "raw_gb_per_s": size / median_interval(times.b_values).median,
        "raw_wait": plain.wait,
        "rounds": len(times.ratios),
    }
    name = f"copy_{direction}.shm{suffix(place)}.{size // MIB}MiB"
    keep(Figure.of(name, times.interval(), "x memcpy", **conditions))
