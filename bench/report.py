"""The table that a person reads; `python -m remora.bench.report FILE` prints it for the documentation."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


def markdown(record: dict[str, Any]) -> str:
    """The figures of a written file as a table for docs/performance.md."""
    lines = ["| figure | value | 95 % interval | unit |", "|---|---|---|---|"]
    for figure in record["figures"]:
        interval = f"{figure['low']:.3g} - {figure['high']:.3g}"
        lines.append(f"| `{figure['name']}` | {figure['ratio']:.3g} | {interval} | {figure['unit']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))
