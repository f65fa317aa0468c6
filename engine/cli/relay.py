"""Programs and engines joined by a transport that is written in Python (docs/transports.md).

`remora run --transport MODULE:CLASS` puts one half of a relay beside the program, `remora relay` the other
half beside the engine. Leases are asked for the same way, so the two machines need nothing else between.
Must not know: how a transport moves bytes.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from remora.engine.cli.errors import Problem
from remora.engine.cli.serve import end_with_parent, tell
from remora.transport import Transport, TransportError, base
from remora.transport.hello import split_address
from remora.transport.relay import CONNECT_SECONDS, Far, Near


def is_custom(name: str) -> bool:
    """Is it MODULE:CLASS, and not one of Remora's own transports?"""
    return ":" in name


def load(reference: str) -> Transport:
    """The transport of MODULE:CLASS. Raises Problem."""
    try:
        return base.load(reference)
    except TransportError as error:
        raise Problem(f"--transport {error}", 2) from None


@contextmanager
def to_server(transport: Transport, address: str) -> Iterator[str]:
    """HOST:PORT here that leads to the engine beside the far half at address. Raises Problem."""
    try:
        transport.connect(address, CONNECT_SECONDS).close()
    except OSError as error:
        raise Problem(
            f"{address}: {transport.name} cannot connect: {error.strerror or error}; "
            "is `remora relay` running there, with the same --transport?"
        ) from None
    with Near(transport, address) as near:
        yield near.address


@contextmanager
def to_engine_here(transport: Transport, engine: str) -> Iterator[str]:
    """HOST:PORT here that leads to the engine at HOST:PORT, and through the transport on the way."""
    with far_half(transport, "", engine) as far, to_server(transport, far.address) as near:
        yield near


def far_half(transport: Transport, listen: str, engine: str) -> Far:
    """The half beside the engine at HOST:PORT, not yet started. Raises Problem."""
    try:
        return Far(transport, listen, split_address(engine))
    except (OSError, ValueError) as error:
        raise Problem(f"{listen or transport.name}: cannot listen: {error}") from None


def relay(reference: str, listen: str, engine: str, ready_fd: int | None, with_parent: bool) -> None:
    """`remora relay`: the far half, until SIGTERM or SIGINT. ready_fd gets the address, as in `serve`."""
    if with_parent:
        end_with_parent()
    logging.basicConfig(level=logging.INFO, format="remora: %(message)s", stream=sys.stderr)
    transport = load(reference)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with far_half(transport, listen, engine) as far:
        print(f"remora: {transport.name} at {far.address} leads to the engine at {engine}", file=sys.stderr)
        if ready_fd is not None:
            tell(far.address, ready_fd)
        while not ended.wait(3600):
            pass
