"""How channels end: closing, dead and silent peers in every state, forks; what waits ends with them."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance.ends import (
    ForkedPeer,
    Pair,
    ended,
    in_child,
    in_thread,
    send_all,
    wait_until,
)

pytestmark = pytest.mark.timeout(60)


def test_close_sends_what_is_unsent_first(pair: Pair) -> None:
    client, engine = pair()
    client.post_many(64, bytes(1000), 250)  # as many as a ring holds, even one in registered memory
    client.close(5000)
    assert engine.skip(250, 5000) == 250
    with pytest.raises(ch.ChannelError) as caught:
        engine.next(5000)
    assert caught.value.code == ch.EPEER
    assert str(caught.value) == "client closed the connection"
    with pytest.raises(ch.ChannelError) as caught:
        client.post(64)
    assert caught.value.code == ch.ECLOSED
    engine.close()


def test_the_peer_learns_why(pair: Pair) -> None:
    client, engine = pair()
    engine.end("the quota of the lease was withdrawn")
    assert ended(client) == (ch.EPEER, "engine closed the connection: the quota of the lease was withdrawn")
    client.close()


def test_every_kind_of_wait_ends_when_the_channel_is_closed(pair: Pair) -> None:
    client, engine = pair(ring_bytes=4096, bulk_window=1, hold_bulk=True, spin_us=0)
    outcomes: list[int] = []

    def expect_end(work: Callable[[], object]) -> None:
        try:
            work()
        except ch.ChannelError as error:
            outcomes.append(error.code)

    works: list[Callable[[], object]] = [
        lambda: client.call(64),
        lambda: client.call(64),
        lambda: send_all(client, 0, [b"x"] * 3),
        lambda: client.post_many(64, bytes(900), 100),
    ]
    threads = [in_thread(expect_end, work) for work in works]
    wait_until(lambda: client.stats["credit_waits"] >= 2)
    time.sleep(0.1)
    client.close(0)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert outcomes == [ch.ECLOSED] * 4
    engine.close()


def idle(_: ch.Channel) -> None:
    time.sleep(30)


def floods_records(channel: ch.Channel) -> None:
    channel.post_many(64, bytes(500), 10**9)


def floods_bulk(channel: ch.Channel) -> None:
    while True:
        channel.bulk(1, bytes(ch.BULK_MAX))


def takes_nothing_and_waits(channel: ch.Channel) -> None:
    channel.call(64)


def echoes(channel: ch.Channel) -> None:
    channel.echo()


@pytest.mark.parametrize("work", [idle, floods_records, floods_bulk, takes_nothing_and_waits])
def test_engine_notices_a_client_killed_in_any_state(
    forked_peer: ForkedPeer, work: Callable[[ch.Channel], None]
) -> None:
    engine, pid = forked_peer(work, client=True, ring_bytes=65536)
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    code, why = ended(engine)
    assert code == ch.EPEER and why
    engine.close()


@pytest.mark.parametrize("work", [idle, floods_records, floods_bulk])
def test_every_wait_of_a_client_ends_when_its_engine_is_killed(
    forked_peer: ForkedPeer, work: Callable[[ch.Channel], None]
) -> None:
    client, pid = forked_peer(work, client=False, ring_bytes=65536)
    ends: list[int] = []

    def expect_end(do: Callable[[], object]) -> None:
        try:
            do()
        except ch.ChannelError as error:
            ends.append(error.code)

    works: list[Callable[[], object]] = [
        lambda: client.call(64),
        lambda: client.call(64),
        lambda: client.post_many(64, bytes(1000), 10**6),
    ]
    threads = [in_thread(expect_end, do) for do in works]
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert ends == [ch.EPEER] * 3
    client.close()


@pytest.mark.parametrize("work", [echoes, floods_records])
def test_a_stopped_peer_is_noticed(forked_peer: ForkedPeer, work: Callable[[ch.Channel], None]) -> None:
    client, pid = forked_peer(work, client=False, silence_ms=600)
    time.sleep(0.1)
    os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    try:
        with pytest.raises(ch.ChannelError) as caught:
            client.call(64)
        assert caught.value.code == ch.ESILENT
        assert 0.2 < time.monotonic() - start < 20
        assert "peer" in str(caught.value) and "s: it is stopped" in str(caught.value)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    client.close()


def test_a_stopped_peer_is_noticed_with_bulk_under_way(forked_peer: ForkedPeer) -> None:
    client, pid = forked_peer(echoes, client=False, silence_ms=600)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ch.ChannelError) as caught:
            for _ in range(1000):
                client.bulk(0, bytes(ch.BULK_MAX))
        assert caught.value.code == ch.ESILENT
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    client.close()


def floods_blocks(channel: ch.Channel) -> None:
    blocks = [bytes([i]) * ch.BULK_MAX for i in range(4)]
    with contextlib.suppress(ch.ChannelError):
        for block in itertools.cycle(blocks):
            channel.bulk(1, block)


def end_amid_a_flood(client: ch.Channel, engine: ch.Channel) -> None:
    """Bulk messages land when another thread ends the channel: none does once a wait has failed."""
    landing = bytearray(ch.BULK_MAX)
    client.land_in(landing)
    flooding = in_thread(floods_blocks, engine)
    wait_until(lambda: client.stats["bulk_received"] > 8)
    ending = in_thread(client.end, "enough")
    with pytest.raises(ch.ChannelError):
        client.call(64)
    before = bytes(landing)
    time.sleep(0.02)
    assert landing == before
    for thread in (ending, flooding):
        thread.join(5)
        assert not thread.is_alive()
    client.close()
    engine.close()


def test_nothing_lands_once_a_wait_has_failed(pair: Pair) -> None:
    for _ in range(12):
        end_amid_a_flood(*pair())


def test_an_idle_peer_that_answers_pings_stays(pair: Pair) -> None:
    client, engine = pair(silence_ms=300)
    time.sleep(1.2)
    assert client.error is None and engine.error is None
    assert client.stats["bytes_received"] > 0
    client.close()
    engine.close()


def test_a_forked_child_abandons_the_channel_and_the_parent_goes_on(pair: Pair) -> None:
    client, engine = pair()
    echo = in_thread(engine.echo)
    stop = threading.Event()
    load = in_thread(lambda: [client.call(64, b"load") for _ in iter(stop.is_set, True)])
    for _ in range(20):
        pid = in_child(client.abandon)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client.call(64, b"still here", timeout_ms=5000) == b"still here"
    stop.set()
    load.join(5)
    assert client.error is None
    client.close()
    echo.join(5)
    engine.close()


def test_a_forked_child_that_collects_a_channel_leaves_the_parents_alone(pair: Pair) -> None:
    left = [pair()]

    def collect() -> None:
        left.clear()
        gc.collect()

    assert os.waitstatus_to_exitcode(os.waitpid(in_child(collect), 0)[1]) == 0
    client, engine = left[0]
    echo = in_thread(engine.echo)
    assert client.call(64, b"still here", timeout_ms=5000) == b"still here"
    client.close()
    echo.join(5)
    engine.close()


COUNT_DESCRIPTORS = """
import os
names = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
ours = ("socket:", "anon_inode:[event", "anon_inode:inf", "/memfd:", "/dev/infiniband")
print(sum(os.readlink(name).startswith(ours) for name in names if os.path.lexists(name)))
"""


def test_descriptors_do_not_leak_into_programs(pair: Pair) -> None:
    client, engine = pair()
    out = subprocess.run(
        [sys.executable, "-c", COUNT_DESCRIPTORS], capture_output=True, text=True, close_fds=False
    )
    assert out.stdout.strip() == "0", out
    client.close()
    engine.close()
