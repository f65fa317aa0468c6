"""`make demo`: an ordinary CUDA program computes on a GPU that its process does not have.

The program (cuda/mandelbrot.cu) is built with nvcc and knows nothing of Remora. It runs twice: beside its
GPU, and through `remora run` with the engine in another process. Both pictures are compared with NumPy's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from remora.shim.launcher.stats import Page
from tests.programs import harness, toolchain

WIDTH, HEIGHT, LIMIT, FRAMES = 320, 200, 200, 24
SHADES = " .:-=+*#%@"
console = Console()


def expected() -> NDArray[np.uint16]:
    """The first frame, computed by NumPy with the program's own arithmetic."""
    step = 3.2 / WIDTH
    left, top = -0.743643887 - step * WIDTH / 2, 0.131825904 - step * HEIGHT / 2
    cx, cy = left + np.arange(WIDTH) * step, (top + np.arange(HEIGHT) * step)[:, None]
    x, y = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    turns = np.zeros((HEIGHT, WIDTH), np.uint16)
    for _ in range(LIMIT):
        inside = x * x + y * y <= 4.0
        turns += inside
        x, y = np.where(inside, x * x - y * y + cx, x), np.where(inside, 2.0 * x * y + cy, y)
    return turns


def picture(turns: NDArray[np.uint16]) -> Text:
    """The frame, two pixels in each character cell; without colours where there are none."""
    columns = 76
    rows = columns * HEIGHT // WIDTH // 2 * 2
    ys, xs = np.linspace(0, HEIGHT - 1, rows).astype(int), np.linspace(0, WIDTH - 1, columns).astype(int)
    small = turns[np.ix_(ys, xs)]
    text = Text(no_wrap=True)
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for a, b in zip(upper.tolist(), lower.tolist(), strict=True):
            if console.color_system:
                text.append("▀", f"{colour(a)} on {colour(b)}")
            else:
                text.append(SHADES[min(max(a, b) // 3, len(SHADES) - 1)])
        text.append("\n")
    return text


def colour(turn: int) -> str:
    if turn >= LIMIT:
        return "#000000"
    return f"#{min(255, 12 * turn):02x}{min(255, 5 * turn):02x}{120 + min(135, turn):02x}"


def measured(result: harness.Result) -> dict[str, str]:
    """The program's own "name value" lines."""
    return dict(line.split(" ", 1) for line in result.output.splitlines() if " " in line)


def run_both(folder: Path) -> tuple[harness.Result, harness.Result, float, float]:
    """The program beside its GPU, then through Remora; and how long each process took, in seconds."""
    program = harness.cuda_program("mandelbrot", "-fmad=false")
    near, far = folder / "near", folder / "far"
    near.mkdir(), far.mkdir()
    console.print(f"[bold]1[/]  A CUDA program, built by nvcc: {program[0]}")
    harness.run_directly(
        program, near, "1"
    ).expect_success()  # the kernel's first compilation is not compared
    t0 = time.monotonic()
    direct = harness.run_directly(program, near, str(FRAMES)).expect_success()
    t1 = time.monotonic()
    console.print(f"[bold]2[/]  It ran beside its GPU ({measured(direct)['device']}), as a baseline")
    with harness.server(folder) as server:
        console.print(
            f"[bold]3[/]  remora serve runs in another process (pid {server.process.pid}, {server.address})"
        )
        console.print(f"[bold]4[/]  remora run --server {server.address} -- {Path(program[0]).name}")
        t2 = time.monotonic()
        remote = server.run(program, far, str(FRAMES)).expect_success()
        t3 = time.monotonic()
    return direct, remote, t1 - t0, t3 - t2


def table(direct: harness.Result, remote: harness.Result, near_s: float, far_s: float) -> Table:
    rows = Table("", "beside its GPU", "through Remora", title="the same program, twice")
    near, far = measured(direct), measured(remote)
    want = expected()
    rows.add_row("same picture as NumPy's", *(verdict(r, want) for r in (direct, remote)))
    rows.add_row("first frame, ms", near["first_frame_ms"], far["first_frame_ms"])
    frame = [float(m["other_frames_ms"]) / (FRAMES - 1) for m in (near, far)]
    rows.add_row("each later frame, 128 kB back, ms", *(f"{ms:.2f}" for ms in frame))
    rows.add_row("32 MiB to the GPU, MB/s", near["upload_mb_s"], far["upload_mb_s"])
    rows.add_row("32 MiB back, MB/s", near["download_mb_s"], far["download_mb_s"])
    rows.add_row("whole process, launcher included, s", f"{near_s:.2f}", f"{far_s:.2f}")
    return rows


def verdict(result: harness.Result, want: NDArray[np.uint16]) -> str:
    got = np.fromfile(result.folder / "first.raw", np.uint16).reshape(HEIGHT, WIDTH)
    return (
        "[green]yes[/]"
        if np.array_equal(got, want)
        else f"[red]no, {int((got != want).sum())} pixels differ[/]"
    )


def wire(page: Page) -> Table:
    rows = Table("what went over the wire", "")
    rows.add_row("driver calls made by the program", f"{page.calls:,}")
    rows.add_row("sent without waiting", f"{page.posted:,}")
    rows.add_row("round trips waited for", f"{page.waited:,}")
    if page.waited:
        rows.add_row("mean wait, the GPU's work included, ms", f"{page.wait_ns / 1e6 / page.waited:,.1f}")
    rows.add_row("copied to the GPU, bytes", f"{page.copied_in:,}")
    rows.add_row("copied back, bytes", f"{page.copied_out:,}")
    rows.add_row("connected in, ms", f"{page.attach_ns / 1e6:.1f}")
    return rows


def main() -> int:
    console.rule("Remora: a GPU that this program's process does not have")
    toolchain.nvcc()
    with tempfile.TemporaryDirectory(prefix="remora-demo-") as name:
        direct, remote, near_s, far_s = run_both(Path(name))
        got = np.fromfile(remote.folder / "first.raw", np.uint16).reshape(HEIGHT, WIDTH)
        console.print(picture(got))
        console.print(table(direct, remote, near_s, far_s))
        console.print(*(wire(page) for page in remote.pages))
        right = np.array_equal(got, expected())
    console.print(
        "Now yours:  [bold].venv/bin/remora run -- your-cuda-program[/]"
        "    and what it asks for:  [bold].venv/bin/remora doctor -- your-cuda-program[/]"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
