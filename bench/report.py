"""The table that a person reads, and what is said about the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from remora.bench.figures import Figure, broken


def machine() -> dict[str, object]:
    """In general terms: enough to judge the figures by, nothing that names the machine."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "kernel": platform.release(),
    }


def show(figures: Iterable[Figure], quick: bool) -> None:
    figures = list(figures)
    table = Table(title="Remora: figures" + (" (quick: not to be quoted)" if quick else ""))
    for heading in ("figure", "value", "95 % interval", "unit", "conditions"):
        table.add_column(heading, justify="right" if heading in ("value", "95 % interval") else "left")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.ratio:.3g}",
            f"{figure.low:.3g} - {figure.high:.3g}",
            figure.unit,
            ", ".join(f"{key} {_brief(value)}" for key, value in figure.conditions.items()),
        )
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    if not quick:
        for line in broken(figures) or ["every figure is within its bound"]:
            console.print(line)


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
