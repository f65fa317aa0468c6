"""`make gpu-check`: programs, each locally and remotely in turn: correct or not, time ratio, round trips.

A program that fails is a row of the table, with its last line; the others still run. Exit status 1 if any
failed.
"""

from __future__ import annotations

import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from remora.shim.launcher import environment, stats
from tests.programs import harness, toolchain

HERE = Path(__file__).resolve().parent
TURNS = 3  # locally and remotely, in turn
SECONDS = 90  # for one run of one program
BEGIN = time.monotonic()
LIMIT = BEGIN + float(os.environ.get("REMORA_GPU_CHECK_SECONDS", "420")) - 15  # by then all must be said
LEAST = 20  # seconds: no run is begun with less


@dataclass
class Row:
    """What came of one program. Times are in seconds: the program's own, else its process's."""

    name: str
    near: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    checksums: set[str] = field(default_factory=set)
    page: stats.Page | None = None
    problem: str = ""

    def cells(self) -> list[str]:
        right = self.problem or (
            "yes" if len(self.checksums) <= 1 else "differs: " + " / ".join(self.checksums)
        )
        if not (self.near and self.far):
            return [self.name, right, *["-"] * 5]
        near, far = statistics.median(self.near), statistics.median(self.far)
        page = self.page
        counts = [f"{page.waited:,}", f"{page.calls:,}"] if page else ["-", "-"]
        return [self.name, right, f"{near:.4f}", f"{far:.4f}", f"{far / near:.2f}", *counts]


TITLES = ["program", "correct", "local s", "remote s", "ratio", "round trips", "driver calls"]


def programs() -> Iterable[tuple[str, list[str]]]:
    """Names and commands. One that can't be made here is left out by name."""
    for title, name in (
        ("nvcc vectorAdd, whole process", "vector_add"),
        ("nvcc Mandelbrot, 23 frames", "mandelbrot"),
    ):
        try:
            yield title, harness.cuda_program(name)
        except (toolchain.NoCompiler, RuntimeError) as error:
            print(f"remora: {name} left out: {error}", file=sys.stderr)
    yield "CuPy 1024x1024 product, 50 times", [sys.executable, str(HERE / "matmul_cupy.py")]
    yield "PyTorch MLP, 100 training steps", [sys.executable, str(HERE / "train_torch.py")]


def driver() -> str:
    """Of the server: nvidia, or softgpu in a rehearsal."""
    return sys.argv[1] if len(sys.argv) > 1 else "nvidia"


def left() -> float:
    return LIMIT - time.monotonic()


def once(command: list[str], folder: Path, row: Row, times: list[float]) -> harness.Result | None:
    """One run. Its time goes into times, its failure into the row."""
    begin = time.perf_counter()
    path = [str(toolchain.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = harness.clean_environment(REMORA_STATS=str(folder), PYTHONPATH=":".join(path))
    if times is row.near and driver() == "softgpu":
        settings = environment.for_softgpu(settings)
    for old in folder.glob("*.stats"):
        old.unlink()
    try:
        result = harness.finish([*command, str(folder)], settings, folder, min(SECONDS, left()))
    except AssertionError as error:
        row.problem = f"hangs: {str(error).splitlines()[0]}"
        return None
    words = dict(line.split(" ", 1) for line in result.output.splitlines() if " " in line)
    if result.status:
        lines = (result.errors or result.output).strip().splitlines() or ["it said nothing"]
        row.problem = f"fails ({result.status}): {lines[-1][:160]}"
        print(f"--- {row.name}\n{result.output}{result.errors}", file=sys.stderr)
        return None
    times.append(float(words.get("seconds", time.perf_counter() - begin)))
    row.checksums.add(words.get("checksum", ""))
    return result


def compare(name: str, program: list[str], server: harness.Server, folder: Path) -> Row:
    row = Row(name)
    for _ in range(TURNS):
        if row.problem or left() < LEAST:
            break
        if once(program, folder, row, row.near) is None:
            row.problem = f"locally: {row.problem}"
        elif result := once([*server.command(), *program], folder, row, row.far):
            row.page = max(result.pages, key=lambda page: page.calls, default=None)
    if not row.problem and not row.far:
        row.problem = "no time was left"
    return row


def card() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return (
            subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip().splitlines()[0]
        )
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return "unknown card"


def markdown(rows: list[Row]) -> str:
    lines = [
        f"{datetime.date.today()}, {card()} (driver), engine and program on one machine, TCP over loopback.",
        "",
        "| " + " | ".join(TITLES) + " |",
        "|" + "---|" * len(TITLES),
    ]
    return "\n".join(lines + ["| " + " | ".join(row.cells()) + " |" for row in rows]) + "\n"


def main() -> int:
    output = Path(os.environ.get("OUT", toolchain.ROOT / "build")) / "gpu-check.md"
    rows = []
    with tempfile.TemporaryDirectory(prefix="remora-gpu-") as name:
        folder = Path(name)
        try:
            with harness.server(folder, driver=driver()) as server:
                for title, program in programs():
                    print(f"remora: {title}", flush=True)
                    rows.append(compare(title, program, server, folder))
                    print("  " + " | ".join(rows[-1].cells()), flush=True)
        except AssertionError as error:
            print(f"remora: gpu-check: {error}", file=sys.stderr)
            return 1
        print((folder / "server.log").read_text(), file=sys.stderr)
    text = markdown(rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    print(f"\n{text}\nwritten to {output}")
    return int(any(row.problem or len(row.checksums) > 1 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
