"""A figure, the bounds that a sane build keeps, and the file they are written to."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from remora.bench.stats import Interval


@dataclass(frozen=True)
class Figure:
    """One measured number. `ratio` is the number whatever its unit; low and high are its 95 % interval."""

    name: str
    ratio: float
    low: float
    high: float
    unit: str
    conditions: dict[str, object] = field(default_factory=dict)

    @staticmethod
    def of(name: str, interval: Interval, unit: str, **conditions: object) -> Figure:
        return Figure(name, interval.median, interval.low, interval.high, unit, conditions)


@dataclass(frozen=True)
class Bound:
    """Beyond this a figure means that something is broken."""

    figure: str
    relation: str  # "<=" or ">="
    limit: float

    def holds(self, value: float) -> bool:
        return (operator.le if self.relation == "<=" else operator.ge)(value, self.limit)


# Sanity, not ambition: the project's aims are in docs/performance.md.
BOUNDS = (
    Bound("sync_call.tcp", "<=", 1.5),
    Bound("posted_call.tcp", "<=", 1000),
    Bound("copy_htod.tcp", ">=", 0.7),
    Bound("copy_dtoh.tcp", ">=", 0.7),
)


def broken(figures: Iterable[Figure]) -> list[str]:
    """A sentence for each bound that a figure breaks, and for each bounded figure that is not there."""
    measured = {figure.name: figure for figure in figures}
    said = []
    for bound in BOUNDS:
        figure = measured.get(bound.figure)
        if figure is None:
            said.append(f"{bound.figure} was not measured")
        elif not bound.holds(figure.ratio):
            value = f"{figure.ratio:.4g} {figure.unit}"
            said.append(f"{bound.figure} is {value}, which is not {bound.relation} {bound.limit:g}")
    return said


def with_lowest_copies(figures: Iterable[Figure]) -> list[Figure]:
    """The figures, led for each kind of copy by its lowest size under the kind's plain name."""
    figures = list(figures)
    lowest: dict[str, Figure] = {}
    for figure in figures:
        kind, _, size = figure.name.rpartition(".")
        if size.endswith("MiB") and (kind not in lowest or figure.ratio < lowest[kind].ratio):
            lowest[kind] = figure
    return [replace(figure, name=kind) for kind, figure in lowest.items()] + figures


def write(figures: Iterable[Figure], path: Path, machine: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"figures": [asdict(figure) for figure in figures], "machine": machine}
    path.write_text(json.dumps(record, indent=2) + "\n")
