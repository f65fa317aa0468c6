"""An engine for the length of one run, in a process of its own on this machine.

It listens on loopback only, under a token that nobody else can read, and dies with us.
"""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from remora.engine.cli.errors import Problem

START_SECONDS = 30  # a driver may take seconds to initialise; longer means that it hangs
STOP_SECONDS = 5


@dataclass(frozen=True)
class Engine:
    server: str  # HOST:PORT
    token: str


@contextmanager
def engine(driver: str) -> Iterator[Engine]:
    """A running engine; ended on the way out. Raises Problem when it can't start."""
    with tempfile.TemporaryDirectory(prefix="remora-") as folder:
        secret = secrets.token_hex(32)
        token_file, log = Path(folder, "token"), Path(folder, "log")
        token_file.touch(0o600)
        token_file.write_text(secret)
        process, ready = launch(driver, token_file, log)
        try:
            yield Engine(await_ready(process, ready, log), secret)
        finally:
            stop(process)


def launch(driver: str, token_file: Path, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the engine; the descriptor tells when and where it listens."""
    ready, tell = os.pipe()
    command = [
        sys.executable,
        "-m",
        "remora",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--driver",
        driver,
        "--token-file",
        str(token_file),
        "--ready-fd",
        str(tell),
        "--with-parent",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[tell],
        )
    os.close(tell)
    return process, ready


def await_ready(process: subprocess.Popen[bytes], ready: int, log: Path) -> str:
    """HOST:PORT once the engine accepts sessions."""
    with os.fdopen(ready, "rb") as pipe:
        readable, _, _ = select.select([pipe], [], [], START_SECONDS)
        server = pipe.readline().decode().strip() if readable else ""
    if server:
        return server
    late = "" if readable else f"it did not get ready within {START_SECONDS} s; "
    stop(process)
    raise Problem(f"the embedded engine could not start: {late}{last_line(log)}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("remora: ") if lines else "it said nothing"
