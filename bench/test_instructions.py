"""Instructions of a posted call: a count that does not depend on what else the machine does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from remora.bench import instructions
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.programs import Program, build
from remora.bench.remote import Server
from remora.bench.stats import Interval

pytestmark = [
    pytest.mark.steady,  # a count is the same wherever it is taken
    pytest.mark.timeout(400),
    pytest.mark.skipif(not instructions.available(), reason="valgrind is not installed"),
]

BURSTS, BURST = 2, 500
Keep = Callable[[Figure], None]


def keep_count(keep: Keep, name: str, **conditions: object) -> None:
    count = instructions.total() / (BURSTS * BURST)
    keep(Figure.of(name, Interval(count, count, count, 1.0), "instructions", **conditions))


def test_channel_post(place: Placement, keep: Keep) -> None:
    path = build("channel")
    with Program([path, "server"], place.server) as server:
        port = int(server.answer(10)["port"])
        command = instructions.counted([path, "client", str(port)])
        with Program(command, place.client) as client:
            client.ask(f"post 80 {BURSTS} {BURST}", timeout=200)
    keep_count(keep, "channel_instructions.tcp")


def test_posted_call(place: Placement, server: Server, keep: Keep) -> None:
    with server.client(instructions.counted) as client:
        client.ask(f"post cuLaunchKernel {BURSTS} {BURST}", timeout=300)
    keep_count(keep, "posted_instructions.tcp", call="cuLaunchKernel")
