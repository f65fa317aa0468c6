"""`remora doctor`: runs a program and reports what it asked of the driver, missed and waited for."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from remora.engine.cli.errors import Problem
from remora.engine.cli.run import Request, prepare
from remora.shim.launcher import process, reasons, stats
from remora.shim.launcher.environment import SHIM_FOLDER
from remora.shim.launcher.mapped import Observer

WIDTH = 110  # of a report that goes to a file
MOST_ROWS = 25  # of the table of calls: the rest is summed up in one line


def examine(command: Sequence[str], request: Request) -> int:
    """Runs command, prints the report on stderr, returns the command's wait status."""
    with tempfile.TemporaryDirectory(prefix="remora-doctor-") as folder:
        observer = Observer()
        settings = prepare(request, stats=Path(folder))
        try:
            status = process.run(command, settings, observer)
        except process.CannotRun as error:
            raise Problem(str(error), error.status) from None
        report(stats.read_folder(Path(folder)), observer.seen)
    return status


def report(pages: list[stats.Page], libraries: set[str]) -> None:
    console = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
    console.rule("remora doctor")
    console.print(*diagnosis(pages, libraries), sep="\n")
    for page in pages:
        console.print(*summary(page), sep="\n")
        if any(symbol.waits for symbol in page.symbols):
            console.print(wait_table(page))
        console.print(call_table(page))
        if any(symbol.unsupported for symbol in page.symbols):
            console.print(missing_table(page))
    sys.stderr.flush()


def diagnosis(pages: list[stats.Page], libraries: set[str]) -> list[str]:
    """Which libcuda the program mapped, and what that means."""
    ours = str(SHIM_FOLDER.resolve())
    others = sorted(path for path in libraries if not path.startswith(ours))
    lines = [f"libcuda mapped: [green]{path}[/] (Remora's)" for path in sorted(libraries - set(others))]
    lines += [
        f"libcuda mapped: [red]{path}[/] is not Remora's: the program found it by a path of its own "
        "(RPATH, LD_PRELOAD or an absolute name)"
        for path in others
    ]
    if not pages and not libraries:
        lines.append("[yellow]the program never called a CUDA driver: is it built for CPU only?[/]")
    elif not libraries:
        lines.append("libcuda mapped: Remora's (the program ended too soon to be looked at)")
    return lines


def summary(page: stats.Page) -> list[str]:
    missing = sum(symbol.unsupported for symbol in page.symbols)
    lines = [
        f"[bold]{page.program}[/] (pid {page.pid}), {page.state}"
        + (f" at {page.server}" if page.server else ""),
        f"  {page.calls:,} driver calls: {page.posted:,} posted, {page.waited:,} round trips waited for "
        f"({page.wait_ns / 1e6:,.1f} ms), the rest answered in the program itself",
        f"  copies: {page.copied_in:,} bytes to the device, {page.copied_out:,} bytes back; "
        f"{page.callbacks:,} host functions; {page.local_queries:,} queries answered without asking",
        f"  attached in {page.attach_ns / 1e6:.1f} ms; "
        + (f"[red]{missing:,} calls are not supported[/]" if missing else "[green]nothing was missing[/]"),
    ]
    return lines + ([f"  [red]{page.why}[/]"] if page.why else [])


def wait_table(page: stats.Page) -> Table:
    table = Table("call", "round trips", "ms waited", "us each", "why it waits", title="what it waited for")
    for symbol in sorted(page.symbols, key=lambda s: -s.wait_ns):
        if symbol.waits:
            table.add_row(
                symbol.name,
                f"{symbol.waits:,}",
                f"{symbol.wait_ns / 1e6:.2f}",
                f"{symbol.wait_ns / 1e3 / symbol.waits:.1f}",
                reasons.why(symbol.name),
            )
    return table


def call_table(page: stats.Page) -> Table:
    table = Table("call", "times", title="what it asked most")
    called = sorted((s for s in page.symbols if s.calls), key=lambda s: -s.calls)
    for symbol in called[:MOST_ROWS]:
        table.add_row(symbol.name, f"{symbol.calls:,}")
    rest = called[MOST_ROWS:]
    if rest:
        table.add_row(f"{len(rest)} others", f"{sum(s.calls for s in rest):,}")
    return table


def missing_table(page: stats.Page) -> Table:
    table = Table("call", "times", title="[red]not supported yet[/]: it got CUDA_ERROR_NOT_SUPPORTED")
    for symbol in page.symbols:
        if symbol.unsupported:
            table.add_row(symbol.name, f"{symbol.unsupported:,}")
    return table
