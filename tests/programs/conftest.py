"""A server for all end-to-end tests, and the ways to run a program: directly, and over each transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.programs import harness
from tests.rdma import in_guest
from tests.transport.relays import UNIX, relay

# In the guest that has RDMA devices only what needs them is of interest: its one CPU is slow.
WAYS = ["rdma"] if in_guest() else ["direct", "tcp", "shm", "own"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    """One server with two software GPUs, shared by the tests that don't harm it."""
    with harness.server(
        tmp_path_factory.mktemp("server"), REMORA_SOFTGPU_DEVICES="2", REMORA_SOFTGPU_MEMORY_MIB="1024"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def own_transport(server: harness.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Options that reach this server over a transport written in Python."""
    with relay(server.address, tmp_path_factory.mktemp("relay")) as (address, _):
        yield ["--transport", UNIX, "--server", address]


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest) -> Callable[..., harness.Result]:
    """Runs a program: on the software GPU itself, and again through Remora, over each transport."""
    if request.param != "direct":
        running: harness.Server = request.getfixturevalue("server")
        if request.param == "own":
            return over(running, "tcp", request.getfixturevalue("own_transport"))
        return over(running, request.param, ["--transport", request.param])

    def directly(
        program: list[str], folder: object, *arguments: str, options: object = (), **settings: str
    ) -> harness.Result:
        devices = options[list(options).index("-n") + 1] if "-n" in options else "1"  # type: ignore[operator,index,call-overload]
        return harness.run_directly(
            program,
            folder,
            *arguments,
            REMORA_SOFTGPU_DEVICES=devices,  # type: ignore[arg-type]
            REMORA_SOFTGPU_MEMORY_MIB="1024",
            **settings,
        )

    return directly


def over(running: harness.Server, transport: str, choice: list[str]) -> Callable[..., harness.Result]:
    """Runs a program on this server, over this transport and no other: its log says so."""

    def remotely(
        program: list[str], folder: Path, *arguments: str, options: Sequence[str] = (), **settings: str
    ) -> harness.Result:
        before = running.log.read_text().count(f": transport {transport}")
        result = running.run(program, folder, *arguments, options=[*choice, *options], **settings)
        assert running.log.read_text().count(f": transport {transport}") > before, result
        return result

    return remotely
