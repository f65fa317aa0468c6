"""A `remora relay` for tests: the far half of a transport that is written in Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import harness
from tests.programs.harness import REMORA, clean_environment

UNIX = "remora.transport.examples.unix:UnixTransport"


@contextmanager
def relay(to: str, folder: Path, transport: str = UNIX) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A `remora relay` in another process: the address it listens at."""
    read, write = os.pipe()
    command = [*REMORA, "relay", "--transport", transport, "--listen", str(folder / "relay.sock"), "--to", to]
    with (folder / "relay.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(write), "--with-parent"],
            pass_fds=[write],
            stderr=log,
            env=clean_environment(COUNTING_FILE=str(folder / "far.count")),
            cwd=harness.toolchain.ROOT,
        )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            address = pipe.readline().strip()
        assert address, (folder / "relay.log").read_text()
        yield address, process
    finally:
        process.terminate()
        process.wait(10)
