"""`remora list`: a server's GPUs and the programs on them, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from remora.engine import client
from remora.engine.cli import token
from remora.engine.cli.errors import Problem
from remora.engine.errors import EngineError

MIB = 1 << 20


def show(server: str, token_file: Path | None) -> None:
    """Prints the tables. Raises Problem when the server can't be asked."""
    secret = token.read(token_file) or ""
    try:
        devices = client.list_gpus(server, token=secret)
        sessions = client.stats(server, token=secret)["sessions"]
    except EngineError as error:
        raise Problem(str(error)) from None
    console = Console()
    console.print(gpu_table(server, devices))
    if sessions:
        console.print(session_table(sessions))


def gpu_table(server: str, devices: list[dict[str, Any]]) -> Table:
    table = Table("#", "GPU", "memory MiB", "free MiB", "leases", title=server)
    for device in devices:
        table.add_row(
            str(device["index"]),
            device["name"],
            f"{device['memory'] // MIB:,}",
            f"{device['free'] // MIB:,}",
            str(device["leases"]),
        )
    return table


def session_table(sessions: list[dict[str, Any]]) -> Table:
    table = Table("session", "program", "pid", "calls", "memory in use MiB", title="programs")
    for session in sessions:
        used = sum(session["memory"]) / MIB
        table.add_row(
            str(session["session"]),
            session["program"],
            str(session["pid"]),
            f"{session['calls']:,}",
            f"{used:,.1f}",
        )
    return table
