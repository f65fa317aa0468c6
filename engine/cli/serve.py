"""`remora serve`: the engine in the foreground."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from remora.engine.cli import token
from remora.engine.cli.errors import Problem
from remora.engine.errors import EngineError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(listen: str, driver: str, token_file: Path | None, ready_fd: int | None, with_parent: bool) -> None:
    """Serves until SIGTERM or SIGINT. Raises Problem when it can't start.

    ready_fd: a descriptor that gets the line "HOST:PORT" once sessions are accepted, and is then closed.
    with_parent: end when the process that started us does.
    """
    if with_parent:
        end_with_parent()
    secret = token.read(token_file)
    from remora.engine.server import Server

    ends = {signal.SIGTERM, signal.SIGINT}
    try:
        server = Server(listen=listen, driver=driver, token=secret)
        server.start()
    except EngineError as error:
        raise Problem(str(error)) from None
    try:
        tell(server.address, ready_fd)
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)
    finally:
        server.stop()


def tell(address: str, ready_fd: int | None) -> None:
    """Says that the server accepts sessions: to a person, and to whoever started us."""
    print(f"remora: serving at {address}; end with Ctrl-C", file=sys.stderr)
    if ready_fd is not None:
        os.write(ready_fd, f"{address}\n".encode())
        os.close(ready_fd)


def end_with_parent() -> None:
    """SIGTERM for us when our parent ends, even if it was killed."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)
