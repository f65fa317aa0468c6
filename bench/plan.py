"""How much is measured: rounds, calls in a run, sizes of copies."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Plan:
    """Rounds are A B B A quads; each holds four runs."""

    latency_rounds: int
    copy_rounds: int
    calls: int  # in a run of waiting calls
    bursts: int  # in a run of posted calls
    burst: int  # posted calls between two waits: far below what the ring holds
    copies: tuple[tuple[int, int], ...]  # (bytes, repeats in a run)
    chunk: int = MIB  # bytes of one bulk message (RM_BULK_MAX)


FULL = Plan(12, 9, 10_000, 20, 1000, ((MIB, 20), (16 * MIB, 4), (256 * MIB, 1)))
QUICK = Plan(2, 2, 200, 2, 100, ((MIB, 2),))
