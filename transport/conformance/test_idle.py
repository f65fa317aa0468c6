"""Channels that nobody uses: no CPU, little memory; a blocked waiter sleeps."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance.backend import Backend
from remora.transport.conformance.ends import Pair, in_thread

pytestmark = pytest.mark.timeout(120)
SECONDS = 10.0
SHARE = 0.01  # of one processor, for all channels of the test together
MANY = 1000
MANY_BYTES = 1 << 30  # for all of them


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def wait_for_the_end(channel: ch.Channel) -> None:
    with pytest.raises(ch.ChannelError):
        channel.call(64)


def state_of(thread: threading.Thread) -> str:
    """R runs, S sleeps."""
    return Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(") ")[2][0]


def test_idle_channels_and_blocked_waiters_use_no_cpu(pair: Pair) -> None:
    pairs = [pair() for _ in range(10)]
    waiters = [in_thread(wait_for_the_end, pairs[0][0]) for _ in range(3)]
    time.sleep(0.5)
    before, start = cpu_seconds(), time.monotonic()
    states = []
    while time.monotonic() < start + SECONDS:
        time.sleep(SECONDS / 20)
        states += [state_of(thread) for thread in waiters]
    used = cpu_seconds() - before
    for client, engine in pairs:
        client.close()
        engine.close()
    for thread in waiters:
        thread.join(5)
        assert not thread.is_alive()
    assert set(states) == {"S"}
    assert used < SHARE * SECONDS, f"{used:.3f} s of CPU in {SECONDS:g} s"


def resident() -> int:
    """Bytes of memory that this process has, its part of what is shared."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def allow_descriptors(count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, most), most))


def test_a_thousand_idle_channels_fit_in_a_gibibyte(pair: Pair, backend: Backend) -> None:
    many = MANY if ":" not in backend.name and backend.name in ch.carriers() else MANY // 20
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_descriptors(32 * many)
    had = resident()
    pairs = []
    try:
        for i in range(many):
            client, engine = pair()
            pairs.append((client, engine))
            client.post(64, b"%d" % i)
            assert engine.next(5000)[5] == b"%d" % i
        used = resident() - had
    finally:
        for client, engine in pairs:
            client.close(0)
            engine.close(0)
        pairs.clear()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert used < MANY_BYTES * many // MANY, f"{used >> 20} MiB for both ends of {many} channels"
