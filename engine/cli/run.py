"""`remora run`: a lease, an environment; then this process becomes the program.

So PID, exit status, signals and terminal are the program's own. The lease, and the engine where no server is
named, are kept by another process until the program ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from remora.engine.cli.errors import Problem
from remora.shim.launcher import environment
from remora.shim.launcher.keeper import NotHeld, keep


@dataclass(frozen=True)
class Request:
    """What the user asked for. fraction and memory (MiB) exclude each other; neither means whole GPUs."""

    server: str | None
    gpus: int
    fraction: float | None
    memory: int | None
    driver: str
    token_file: Path | None
    transport: str = "auto"


def run(command: Sequence[str], request: Request) -> NoReturn:
    """Becomes command, on leased GPUs. Raises Problem when there are none, or no such command."""
    settings = prepare(request)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), settings)
    except FileNotFoundError:
        raise Problem(f"{command[0]}: no such command", 127) from None
    except OSError as error:
        raise Problem(f"{command[0]}: {error.strerror}", 126) from None


def prepare(request: Request, stats: Path | None = None) -> dict[str, str]:
    """The environment of a program that finds its GPUs. They are leased until this process ends."""
    check(request)
    try:
        # Imports of the client side happen in the keeper: they may start threads, and we want none.
        facts = keep(lambda: held_for(request))
    except NotHeld as error:
        raise Problem(str(error)) from None
    if request.server is None:
        print(
            f"remora: no --server: an engine runs here, at {facts['server']}, for this run", file=sys.stderr
        )
    settings = environment.for_remote(os.environ, server=facts["server"], ticket=facts["ticket"], stats=stats)
    carrier = facts.get("carrier", request.transport)
    if carrier != "auto":
        settings["REMORA_TRANSPORT"] = carrier
    if facts["driver"] == "softgpu":
        announce(environment.prefer_ptx(settings))
    return settings


def held_for(request: Request) -> AbstractContextManager[dict[str, Any]]:
    """What the keeper holds."""
    from remora.engine.cli import relay

    return relayed(request) if relay.is_custom(request.transport) else leased(request)


def check(request: Request) -> None:
    if request.fraction is not None and not 0 < request.fraction <= 1:
        raise Problem(f"-p {request.fraction:g}: a share of a GPU is above 0 and at most 1", 2)
    if request.fraction is not None and request.memory is not None:
        raise Problem("-p and -m exclude each other: give a share of the memory, or MiB", 2)
    if request.server is not None and request.driver != "auto":
        raise Problem("--driver is for an engine started here; a server has chosen its own: leave one out", 2)
    if not (environment.SHIM_FOLDER / "libcuda.so.1").exists():
        raise Problem(f"{environment.SHIM_FOLDER}/libcuda.so.1 is missing: build it with `make build`")


@contextmanager
def leased(request: Request) -> Iterator[dict[str, Any]]:
    """Facts of a lease; on an engine that is started here when no server is named."""
    from remora.engine.cli import embedded, token

    if request.server is not None:
        with lease_at(request.server, token.read(request.token_file), request) as facts:
            yield facts
        return
    with embedded.engine(request.driver) as engine, lease_at(engine.server, engine.token, request) as facts:
        yield facts


@contextmanager
def relayed(request: Request) -> Iterator[dict[str, Any]]:
    """As leased, over the user's own transport; the server is then the near half of a relay."""
    from remora.engine.cli import embedded, relay, token

    transport = relay.load(request.transport)
    with ExitStack() as held:
        if request.server is not None:
            secret = token.read(request.token_file)
            server = held.enter_context(relay.to_server(transport, request.server))
        else:
            engine = held.enter_context(embedded.engine(request.driver))
            secret = engine.token
            server = held.enter_context(relay.to_engine_here(transport, engine.server))
        # Client and engine would else find a way past the relay.
        yield held.enter_context(lease_at(server, secret, request)) | {"carrier": "tcp"}


@contextmanager
def lease_at(server: str, secret: str | None, request: Request) -> Iterator[dict[str, Any]]:
    from remora.engine import client

    with client.request_lease(
        server, token=secret or "", gpus=request.gpus, fraction=request.fraction, mem_mib=request.memory
    ) as lease:
        yield {"server": server, "ticket": lease.ticket, "driver": lease.driver}


def announce(settings: Sequence[str]) -> None:
    """Tells, once, what was set for the user's sake."""
    if settings:
        print(
            f"remora: the GPU is a software GPU and takes PTX only: set {' '.join(settings)}", file=sys.stderr
        )
