"""What an idle channel over rdma takes: little is registered until it is needed, and for no longer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from remora.transport._channel import Channel
from remora.transport.conformance.backend import CarrierBackend
from remora.transport.conformance.ends import CLIENT, ENGINE, Pair, in_child, make_pair, wait_until

pytestmark = pytest.mark.timeout(90)
CHANNELS = 50
SESSIONS, BYTES = 1000, 1 << 30  # what a server's ends of so many sessions may take
MIB = 1 << 20
STAGED = 2 * MIB  # each way


def pinned() -> int:
    """Bytes of this process that devices hold in place."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmPin:"))


def resident() -> int:
    """Bytes of this process, the devices' queues among them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def available() -> int:
    """Bytes that the whole machine has left: what the kernel keeps for a channel shows here only."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def clients(backend: CarrierBackend, address: str) -> None:
    """A process's worth of clients, each of which has said something."""
    channels = [backend.connect(address, **CLIENT) for _ in range(CHANNELS)]
    for channel in channels:
        channel.post(64, b"hello")
        channel.flush()
    signal.pause()


def test_a_servers_ends_of_a_thousand_idle_sessions_fit_in_a_gibibyte() -> None:
    backend = CarrierBackend("rdma")
    had, left = resident(), available()
    with closing(backend.listen()) as listening:
        child = in_child(lambda: clients(backend, listening.address))
        try:
            engines = [listening.accept(**ENGINE) for _ in range(CHANNELS)]
            for engine in engines:
                assert engine.next(5000)[5] == b"hello"
            used, gone = resident() - had, left - available()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    for engine in engines:
        engine.close(0)
    assert used / CHANNELS * SESSIONS < BYTES, f"{used / CHANNELS / 1024:.0f} KiB for one end"
    whole = gone / 2 / CHANNELS
    assert whole * SESSIONS < 1.1 * BYTES, f"{whole / 1024:.0f} KiB with what the kernel keeps"


@pytest.fixture
def pair() -> Iterator[Pair]:
    made: list[Channel] = []

    def make(**options: object) -> tuple[Channel, Channel]:
        made.extend(make_pair(CarrierBackend("rdma"), **options))
        return made[-2], made[-1]

    yield make
    for channel in made:
        channel.close(0)


def test_staging_is_registered_when_a_message_needs_it_and_goes_in_silence(pair: Pair) -> None:
    client, engine = pair(silence_ms=1500)
    idle = pinned()
    client.bulk(7, os.urandom(MIB))
    assert pinned() == idle + 2 * STAGED  # the sender's and the receiver's, both in this process
    wait_until(lambda: pinned() == idle, 10)
    data = os.urandom(MIB)
    client.bulk(7, data)
    client.post(64)
    assert engine.next(5000)[0] == 64
    assert engine.bulk_messages()[-1] == (7, data)
    assert pinned() == idle + 2 * STAGED


def test_messages_that_keep_coming_keep_their_staging(pair: Pair) -> None:
    client, _ = pair(silence_ms=600)
    client.bulk(7, bytes(MIB))
    staged = pinned()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        client.bulk(7, bytes(MIB))
        assert pinned() == staged
