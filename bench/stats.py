"""Ratios from interleaved runs and their confidence intervals. Knows nothing of what is measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interval:
    """Median of a sample, and an interval that covers the true median with at least `coverage`."""

    median: float
    low: float
    high: float
    coverage: float


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The narrowest pair of symmetric order statistics that covers the median with `confidence`.

    No assumption about the distribution: between the k-th smallest and the k-th largest of n values the
    median lies with probability 1 - 2 * P(Binomial(n, 1/2) < k). With fewer than 6 values no pair reaches
    95 %: the whole range is given then, with the coverage that it has.
    """
    if not values:
        raise ValueError("no values to take a median of")
    ordered = sorted(values)
    n, k = len(ordered), 1
    while 2 * (k + 1) <= n and _coverage(n, k + 1) >= confidence:
        k += 1
    return Interval(statistics.median(ordered), ordered[k - 1], ordered[n - k], _coverage(n, k))


def _coverage(n: int, k: int) -> float:
    return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n


@dataclass
class Interleaved:
    """Two ways of doing the same, run A B B A, so that a drift of the machine meets both alike.

    Each way returns what is compared, e.g. a run's median in ns. `turned` gives b / a instead of a / b.
    `renew` is called before each quad, e.g. to connect anew what differs from connection to connection.
    """

    a: Callable[[], float]
    b: Callable[[], float]
    turned: bool = False
    renew: Callable[[], None] = lambda: None
    a_values: list[float] = field(default_factory=list)
    b_values: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def quad(self) -> float:
        """One A B B A; keeps and returns its ratio."""
        self.renew()
        first, second, third, fourth = self.a(), self.b(), self.b(), self.a()
        ours, theirs = (first + fourth) / 2, (second + third) / 2
        self.a_values.append(ours)
        self.b_values.append(theirs)
        self.ratios.append(theirs / ours if self.turned else ours / theirs)
        return self.ratios[-1]

    def forget(self) -> None:
        """Drops what was measured so far: it warmed things up."""
        self.a_values.clear()
        self.b_values.clear()
        self.ratios.clear()

    def interval(self) -> Interval:
        return median_interval(self.ratios)
