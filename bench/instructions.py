"""Instructions that the posting thread executes per call, counted by valgrind: a figure without noise."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from remora.bench.programs import BUILT

LOOP = "post_many"  # the function of the measuring programs whose instructions are counted


def available() -> bool:
    return shutil.which("valgrind") is not None


def counted(command: Sequence[str | Path], output: Path = BUILT / "callgrind.out") -> list[str]:
    """The command under callgrind, which counts only inside the posting loop, each thread apart."""
    for old in output.parent.glob(output.name + "*"):
        old.unlink()
    tool = ["valgrind", "-q", "--tool=callgrind", f"--toggle-collect={LOOP}", "--separate-threads=yes"]
    return [*tool, f"--callgrind-out-file={output}", *map(str, command)]


def total(output: Path = BUILT / "callgrind.out") -> int:
    """Instructions counted in the thread that posted: the one that counted most."""
    totals = [_total_of(path) for path in output.parent.glob(output.name + "-*")]
    if not totals:
        raise FileNotFoundError(f"valgrind left no {output}-*")
    return max(totals)


def _total_of(path: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.MULTILINE)
    return int(found.group(1)) if found else 0
