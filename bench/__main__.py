"""`python -m remora.bench`: measures, prints the table, writes build/bench.json.

Exit status: 0 when everything was measured and is within its bounds, 1 when a bound is broken or a
measurement failed, 2 or more when nothing could be measured (pytest's own codes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from remora.bench.programs import HERE, ROOT


def main(
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("build/bench.json"),
    quick: Annotated[bool, typer.Option(help="Tiny runs: does everything work?")] = False,
    only: Annotated[str, typer.Option(help="Only tests whose name matches, as pytest -k.")] = "",
) -> None:
    """Measure Remora against plain programs, in the same minute, on this machine."""
    arguments = [str(HERE), "--rootdir", str(ROOT), "-q", "--benchmark-disable-gc", "--benchmark-quiet"]
    arguments += ["--figures-output", str(output), "-p", "no:cacheprovider", "-k", only]
    raise typer.Exit(pytest.main(arguments + ["--quick"] * quick))


if __name__ == "__main__":
    typer.run(main)
