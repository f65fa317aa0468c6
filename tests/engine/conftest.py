"""An engine in this process, with two small software GPUs; its workers are processes as always."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from remora.engine.server import Server
from tests.engine.peer import Peer

MEMORY_MIB = 512


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    os.environ["REMORA_SOFTGPU_DEVICES"] = "2"
    os.environ["REMORA_SOFTGPU_MEMORY_MIB"] = str(MEMORY_MIB)
    engine = Server("127.0.0.1:0", "softgpu")
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def attach(server: Server, nobody_stays: None) -> Iterator[Callable[..., Peer]]:
    """Makes peers that end with the test."""
    made: list[Peer] = []

    def make(ticket: str = "", **hello: object) -> Peer:
        made.append(Peer(server.address, ticket, **hello))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


@pytest.fixture(autouse=True)
def nobody_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sessions end with the test that made them."""
    yield
    if "server" not in request.fixturenames:
        return
    engine = request.getfixturevalue("server")
    deadline = time.monotonic() + 15
    while engine.sessions and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not engine.sessions, "a session outlives its client"
