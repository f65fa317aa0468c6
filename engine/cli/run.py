"""`remora run`: a lease, an environment, a program; then everything is given back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from remora.engine import client
from remora.engine.cli import embedded, token
from remora.engine.cli.errors import Problem
from remora.engine.errors import EngineError
from remora.shim.launcher import environment, process


@dataclass(frozen=True)
class Request:
    """What the user asked for. fraction and memory (MiB) exclude each other; neither means whole GPUs."""

    server: str | None
    gpus: int
    fraction: float | None
    memory: int | None
    driver: str
    token_file: Path | None


def run(
    command: Sequence[str],
    request: Request,
    stats: Path | None = None,
    watch: Callable[[int], None] | None = None,
) -> int:
    """Runs command on leased GPUs and returns its wait status. Raises Problem."""
    check(request)
    with leased(request) as (server, lease):
        settings = environment.for_remote(os.environ, server=server, ticket=lease.ticket, stats=stats)
        if lease.driver == "softgpu":
            announce(environment.prefer_ptx(settings))
        try:
            return process.run(command, settings, watch)
        except process.CannotRun as error:
            raise Problem(str(error), error.status) from None


def check(request: Request) -> None:
    if request.fraction is not None and not 0 < request.fraction <= 1:
        raise Problem(f"-p {request.fraction:g}: a share of a GPU is above 0 and at most 1", 2)
    if request.fraction is not None and request.memory is not None:
        raise Problem("-p and -m exclude each other: give a share of the memory, or MiB", 2)
    if request.server is not None and request.driver != "auto":
        raise Problem(
            "--driver chooses for an engine started here; a server has chosen already: leave one out", 2
        )
    if not (environment.SHIM_FOLDER / "libcuda.so.1").exists():
        raise Problem(f"{environment.SHIM_FOLDER}/libcuda.so.1 is missing: build it with `make build`")


@contextmanager
def leased(request: Request) -> Iterator[tuple[str, client.Lease]]:
    """The server's address and a lease there; an engine is started here when no server is named."""
    if request.server is not None:
        with lease_at(request.server, token.read(request.token_file), request) as lease:
            yield request.server, lease
        return
    with embedded.engine(request.driver) as engine:
        print(f"remora: no --server: an engine runs here, at {engine.server}, for this run", file=sys.stderr)
        with lease_at(engine.server, engine.token, request) as lease:
            yield engine.server, lease


def lease_at(server: str, secret: str | None, request: Request) -> client.Lease:
    try:
        return client.request_lease(
            server, token=secret or "", gpus=request.gpus, fraction=request.fraction, mem_mib=request.memory
        )
    except EngineError as error:
        raise Problem(str(error)) from None


def announce(settings: Sequence[str]) -> None:
    """Tells, once, what was set for the user's sake."""
    if settings:
        print(
            f"remora: the GPU is a software GPU and takes PTX only: set {' '.join(settings)}", file=sys.stderr
        )
