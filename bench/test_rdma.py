"""The rdma carrier against plain verbs: in a guest with Soft-RoCE, which every machine can start.

Soft-RoCE is slower than TCP on a loopback, so that only the ratios to plain verbs speak; the times over
tcp in the same guest are conditions of the figures.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable

import pytest

from remora.bench import programs
from remora.bench.figures import Figure
from remora.bench.plan import MIB, Plan
from remora.bench.stats import median_interval

pytestmark = pytest.mark.timeout(400)

Keep = Callable[[Figure], None]
BYTES = 24  # of a record: a small call, and its reply
COPY = 8 * MIB
GUEST = [".venv/bin/python", "-m", "remora.bench.guest", "--timeout", "200", "--"]


def compared(*numbers: int) -> list[dict[str, float]]:
    """What bench/rdma/compare.c measured in each of its rounds."""
    command = [*GUEST, str(programs.build("compare")), *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=programs.ROOT, timeout=300)
    if done.returncode:
        raise programs.BenchError(f"compare: {done.stdout[-500:]}{done.stderr[-500:]}")
    lines = [line for line in done.stdout.splitlines() if "warm=" in line]
    rounds = [{k: float(v) for k, v in (word.split("=") for word in line.split())} for line in lines]
    return [one for one in rounds if one["warm"]]


def middle(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def test_rdma_call(sizes: Plan, keep: Keep) -> None:
    """A waiting call against the better of two ping-pongs: WRITE and look, WRITE_WITH_IMM."""
    rounds = compared(sizes.latency_rounds, 40, 20, BYTES, MIB, 1)
    better = min(("write_ns", "imm_ns"), key=lambda name: middle(rounds, name))
    conditions = {name: middle(rounds, name) for name in ("call_ns", "write_ns", "imm_ns", "tcp_call_ns")}
    ratios = median_interval([one["call_ns"] / one[better] for one in rounds])
    keep(Figure.of("sync_call.rdma", ratios, f"x raw {better[:-3]} ping-pong", place="guest", **conditions))


def test_rdma_copies(sizes: Plan, keep: Keep) -> None:
    """Copies from and to pinned memory in messages of 1 MiB, against plain WRITEs and READs of 1 MiB."""
    rounds = compared(sizes.copy_rounds, 1, 20, BYTES, COPY, 2)
    assert rounds[-1]["copied"] == 0 and rounds[-1]["direct"] > 0
    for direction in ("htod", "dtoh"):
        conditions = {
            "gb_per_s": COPY / middle(rounds, f"{direction}_ns"),
            "raw_write_gb_per_s": COPY / middle(rounds, "raw_write_ns"),
            "raw_read_gb_per_s": COPY / middle(rounds, "raw_read_ns"),
            "tcp_gb_per_s": COPY / middle(rounds, f"tcp_{direction}_ns"),
        }
        for raw in ("write", "read"):
            ratios = median_interval([one[f"raw_{raw}_ns"] / one[f"{direction}_ns"] for one in rounds])
            name = f"copy_{direction}.rdma" + ("" if raw == "read" else ".write")
            keep(Figure.of(name, ratios, f"x raw RDMA {raw.upper()}", place="guest", **conditions))


def test_rdma_cost(keep: Keep) -> None:
    """CPU time of the data path for each posted call, over a fake device that does nothing; batches of 8."""
    run = subprocess.run(
        [programs.build("rdmacost"), "150000", "8"], capture_output=True, text=True, timeout=60
    )
    cost = {k: float(v) for k, v in (word.split("=") for word in run.stdout.split())}
    assert cost["doorbells_per_batch"] <= 1 and cost["requests_per_signal"] >= 32
    ns = cost["posted_ns"]
    keep(Figure("posted_call.rdma", ns, ns, ns, "ns of CPU, device aside", {**cost, "place": "host"}))
