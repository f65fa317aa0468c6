"""`remora serve`: the engine in the foreground."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from remora.engine.cli import token
from remora.engine.cli.errors import Problem
from remora.engine.errors import EngineError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(
    listen: str,
    driver: str,
    token_file: Path | None,
    transport: str,
    ready_fd: int | None,
    with_parent: bool,
) -> None:
    """Serves until SIGTERM or SIGINT. Raises Problem when it can't start.

    ready_fd: a descriptor that gets the line "HOST:PORT" once sessions are accepted, and is then closed.
    with_parent: end when the process that started us does.
    """
    if with_parent:
        end_with_parent()
    secret = token.read(token_file)
    from remora.engine.server import Server

    logging.basicConfig(level=logging.INFO, format="remora: %(message)s", stream=sys.stderr)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = Server(listen=listen, driver=driver, token=secret, transport=transport)
        server.start()
    except EngineError as error:
        raise Problem(str(error)) from None
    try:
        if ready_fd is not None:
            tell(server.address, ready_fd)
        while not ended.wait(3600):
            pass
    finally:
        server.stop()


def tell(address: str, ready_fd: int) -> None:
    """Tells whoever started us that the server accepts sessions."""
    os.write(ready_fd, f"{address}\n".encode())
    os.close(ready_fd)


def end_with_parent() -> None:
    """SIGTERM for us when our parent ends, even if it was killed."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)
