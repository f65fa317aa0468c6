"""Both of Remora's ends on cards of their own, with a wire between that delays and loses packets."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import remora.transport as rt
from remora.transport._channel import Carrying, Channel
from tests.programs import harness
from tests.programs.harness import cuda_program
from tests.programs.inputs import sample

NEAR, FAR = ("wire1", "10.98.0.1"), ("wire2", "10.98.0.2")
WEATHER = ["delay", "1ms", "loss", "1%"]
DISTANCE = 0.5  # seconds, one way
pytestmark = pytest.mark.timeout(110)


class Wire:
    """What each direction did."""

    def report(self, card: str) -> tuple[int, int]:
        """Packets sent and dropped by a card."""
        said = subprocess.run(
            ["tc", "-s", "qdisc", "show", "dev", card], capture_output=True, text=True, check=True
        )
        sent, dropped = re.search(r"(\d+) pkt \(dropped (\d+)", said.stdout).groups()  # type: ignore[union-attr]
        return int(sent), int(dropped)

    def both(self) -> list[tuple[int, int]]:
        return [self.report(NEAR[0]), self.report(FAR[0])]


@contextmanager
def weather(*what: str) -> Iterator[Wire]:
    for card, _ in (NEAR, FAR):
        subprocess.run(["tc", "qdisc", "add", "dev", card, "root", "netem", *what], check=True)
    yield Wire()
    for card, _ in (NEAR, FAR):
        subprocess.run(["tc", "qdisc", "del", "dev", card, "root"], check=True)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with weather(*WEATHER) as bad:
        yield bad


def sockets() -> tuple[socket.socket, socket.socket]:
    """A connection between the two cards' addresses, which is how each end knows its card."""
    with socket.create_server((FAR[1], 0)) as listener:
        near = socket.create_connection(listener.getsockname(), source_address=(NEAR[1], 0))
        far, _ = listener.accept()
    return near, far


def channels() -> tuple[Channel, Channel]:
    near, far = sockets()
    client, server = Carrying("rdma", near.fileno()), Carrying("rdma", far.fileno())
    server.connect(client.accept(server.prepare(client.offer())))
    near.detach()
    far.detach()
    engine = Channel(server, peer="client")
    engine.start_reader()
    return Channel(client, service=True, deliver=True, peer="engine"), engine


def test_everything_arrives_whole_and_in_order_over_a_bad_wire(wire: Wire) -> None:
    client, engine = channels()
    block = os.urandom(1 << 20)
    for number in range(3):
        client.post_many(64, bytes(100), 500)
        assert engine.skip(500, 30_000) == 500
        client.bulk(7, block)
        client.post(65, b"%d" % number)
        assert engine.next(30_000)[5] == b"%d" % number
        assert engine.bulk_messages() == [(7, block)]
        engine.bulk(8, block)
        engine.post(1, bytes(8))
        engine.flush()
    sent, dropped = map(sum, zip(*wire.both(), strict=True))
    assert sent > 6 * (1 << 20) // 4096, "the wire was not used"
    assert dropped > 0, "nothing was lost"
    client.close(0)
    engine.close(0)


@pytest.fixture
def from_near() -> Iterator[None]:
    """Programs that connect to the far address do so from the near one, as from another machine."""
    route = ["local", f"{FAR[1]}/32", "dev", FAR[0], "table", "local", "proto", "kernel", "scope", "host"]
    subprocess.run(["ip", "route", "replace", *route, "src", NEAR[1]], check=True)
    yield
    subprocess.run(["ip", "route", "replace", *route, "src", FAR[1]], check=True)


def test_an_unmodified_program_runs_over_a_bad_wire(wire: Wire, from_near: None, tmp_path: Path) -> None:
    """Nobody is told which card: each side takes that of the address which the connection has there."""
    n = 100_000
    with harness.server(tmp_path, "--listen", f"{FAR[1]}:0", REMORA_SOFTGPU_DEVICES="1") as server:
        program = cuda_program("vector_add", "-cudart", "static")
        options = ["--transport", "rdma"]
        server.run(program, tmp_path, str(n), options=options, REMORA_LOG="info").expect_success()
        assert "rxe2 port 1" in server.log.read_text()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "c.raw", np.float32), sample(n, 1) + sample(n, 2))
    sent, _ = map(sum, zip(*wire.both(), strict=True))
    assert sent > 3 * 4 * n // 4096, "the wire was not used"


def break_lifeline() -> None:
    """Ends the near side's TCP connection, whose descriptor nobody hands out."""
    for path in Path("/proc/self/fd").iterdir():
        if path.is_symlink() and os.readlink(path).startswith("socket:"):
            with socket.socket(fileno=os.dup(int(path.name))) as one:
                if one.family == socket.AF_INET and one.getsockname()[0] == NEAR[1]:
                    one.shutdown(socket.SHUT_RDWR)


def test_what_is_under_way_does_not_land_after_a_transfer_has_failed(from_near: None) -> None:
    """The program may use its memory for something else then, though the peer goes on sending."""
    with rt.listen(f"{FAR[1]}:0", transport="rdma") as listener:
        near = rt.connect(listener.address, transport="rdma")
        far = listener.accept(10)
    remote, local = far.register(np.full(4 << 20, 1, np.uint8)), np.zeros(4 << 20, np.uint8)
    near.register(local)
    with weather("delay", f"{DISTANCE}s"):
        # The near side asks, is told where, asks there; the answer is on its way from 3 to 4 distances.
        threading.Timer(3.2 * DISTANCE, break_lifeline).start()
        begun = time.monotonic()
        with pytest.raises(rt.Disconnected):
            near.read(remote.handle, local, timeout=30)
        assert 3.2 * DISTANCE < time.monotonic() - begun < 4 * DISTANCE
        assert not local.any()
        time.sleep(3 * DISTANCE)
        assert not local.any()
    near.close()
    far.close()
