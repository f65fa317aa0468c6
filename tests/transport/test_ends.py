"""How channels end: dead, silent and lying peers, closing, forking; what waits ends with them."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from remora.transport import _channel as ch

from . import links
from .links import frame, in_child, in_thread, pair, raw_pair, record, sockets, wait_until

pytestmark = pytest.mark.timeout(60)


def ended(channel: ch.Channel) -> tuple[int, str]:
    wait_until(lambda: channel.error)
    assert channel.error is not None
    return channel.error


# ---- closing


def test_close_sends_what_is_unsent_first() -> None:
    client, engine = pair()
    client.post_many(64, bytes(1000), 3000)
    client.close(5000)
    assert engine.skip(3000, 5000) == 3000
    with pytest.raises(ch.ChannelError) as caught:
        engine.next(5000)
    assert caught.value.code == ch.EPEER
    assert str(caught.value) == "client closed the connection"
    with pytest.raises(ch.ChannelError) as caught:
        client.post(64)
    assert caught.value.code == ch.ECLOSED
    engine.close()


def test_the_peer_learns_why() -> None:
    client, engine = pair()
    engine.end("the quota of the lease was withdrawn")
    assert ended(client) == (ch.EPEER, "engine closed the connection: the quota of the lease was withdrawn")
    client.close()


def test_every_kind_of_wait_ends_when_the_channel_is_closed() -> None:
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
        lambda: [client.bulk(0, b"x") for _ in range(3)],
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


# ---- a dying peer


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


def forked_peer(work: Callable[[ch.Channel], None], client: bool, **options: int) -> tuple[ch.Channel, int]:
    """A channel here to a forked process that does work with its own end."""
    near, far = sockets()

    def run() -> None:
        near.close()
        channel = ch.Channel(far.detach(), service=client, deliver=client, **options)
        if not client:
            channel.start_reader()
        work(channel)

    pid = in_child(run)
    far.close()
    here = ch.Channel(near.detach(), service=not client, deliver=not client, peer="peer", **options)
    if client:
        here.start_reader()
    return here, pid


@pytest.mark.parametrize("work", [idle, floods_records, floods_bulk, takes_nothing_and_waits])
def test_engine_notices_a_client_killed_in_any_state(work: Callable[[ch.Channel], None]) -> None:
    engine, pid = forked_peer(work, client=True, ring_bytes=65536)
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    code, why = ended(engine)
    assert code == ch.EPEER and why
    engine.close()


@pytest.mark.parametrize("work", [idle, floods_records, floods_bulk])
def test_every_wait_of_a_client_ends_when_its_engine_is_killed(work: Callable[[ch.Channel], None]) -> None:
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
def test_a_stopped_peer_is_noticed(work: Callable[[ch.Channel], None]) -> None:
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


def test_a_stopped_peer_is_noticed_with_bulk_under_way() -> None:
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


def test_an_idle_peer_that_answers_pings_stays() -> None:
    client, engine = pair(silence_ms=300)
    time.sleep(1.2)
    assert client.error is None and engine.error is None
    assert client.stats["bytes_received"] > 0
    client.close()
    engine.close()


# ---- bytes that break the rules

BAD = {
    "unknown kind": frame(99),
    "kind 0": bytes(16),
    "reserved byte": b"\x01\0\0\1" + bytes(12),
    "empty records": frame(links.RECORDS),
    "odd length": frame(links.RECORDS, bytes(12)),
    "beyond the ring": frame(links.RECORDS, bytes(65536 + 8)),
    "record too small": frame(links.RECORDS, record(64, size=8)),
    "record size 0": frame(links.RECORDS, record(64, size=0)),
    "record beyond its frame": frame(links.RECORDS, record(64, bytes(8), size=48)),
    "record beyond the limit": frame(links.RECORDS, record(64, bytes(20000), size=20016)),
    "huge record": frame(links.RECORDS, record(64, size=0xFFFFFFF0)),
    "pad in the middle": frame(links.RECORDS, record(0, bytes(16))),
    "bulk too large": links.FRAME.pack(links.BULK, 0, 0, 0, (1 << 20) + 1, 1, 0),
    "more bulk than the window": frame(links.BULK, b"x", tag=1) * 17,
    "urgent too large": links.FRAME.pack(links.URGENT, 0, 0, 0, 65, 0, 0),
    "urgent of 4 GiB": links.FRAME.pack(links.URGENT, 0, 0, 0, 0xFFFFFFFF, 0, 0),
    "ping with a payload": frame(links.PING, b"x"),
    "tag where none belongs": frame(links.PING, tag=1),
    "credit for nothing": frame(links.CREDIT, ring=8),
    "bulk credit for nothing": frame(links.CREDIT, bulk=(1, 0)),
    "other bulk credit for nothing": frame(links.CREDIT, bulk=(0, 1)),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_rules_end_the_channel_with_a_reason_on_both_sides(name: str) -> None:
    engine, peer = raw_pair(ring_bytes=65536, hold_bulk=True)
    peer.sendall(BAD[name])
    code, why = ended(engine)
    assert code == ch.EPROTO
    assert why.startswith("client broke the protocol: ") and len(why) > 40
    said = b""
    while part := peer.recv(4096):
        said += part
    assert links.FRAME.unpack(said[:16])[0] == links.BYE and said[16:].decode() in why
    engine.close()


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 40])
def test_a_connection_that_ends_inside_a_frame(cut: int) -> None:
    engine, peer = raw_pair()
    peer.sendall((frame(links.RECORDS, record(64, bytes(40))) + frame(links.BULK, bytes(40), tag=3))[:cut])
    peer.close()
    code, why = ended(engine)
    assert code == ch.EPEER and "inside a message" in why
    engine.close()


def test_valid_frames_byte_by_byte() -> None:
    engine, peer = raw_pair(ring_bytes=65536)
    data = frame(links.RECORDS, record(64, b"one") + record(65, b"two!", seq=2))
    data += frame(links.BULK, b"payload", tag=9) + frame(links.BULK, b"", tag=8)
    data += frame(links.PING) + frame(links.URGENT, b"now") + frame(links.RECORDS, record(66, seq=3))
    for i in range(len(data)):
        peer.sendall(data[i : i + 1])
        if i % 16 == 0:
            time.sleep(0.001)
    assert [engine.next(5000)[0] for _ in range(3)] == [64, 65, 66]
    assert engine.bulk_messages() == [(9, b"payload"), (8, b"")]
    assert engine.urgent_messages() == [b"now"]
    assert links.FRAME.unpack(peer.recv(16))[0] == links.PONG
    engine.close()
    peer.close()


def valid_stream(chance: random.Random) -> bytearray:
    stream = bytearray()
    for _ in range(chance.randrange(1, 12)):
        kind = chance.choice(
            [links.RECORDS, links.RECORDS, links.BULK, links.URGENT, links.PING, links.CREDIT]
        )
        if kind == links.RECORDS:
            parts = [
                record(64, chance.randbytes(chance.randrange(100))) for _ in range(chance.randrange(1, 4))
            ]
            stream += frame(kind, b"".join(parts))
        elif kind == links.BULK:
            stream += frame(kind, chance.randbytes(chance.randrange(2000)), tag=chance.randrange(3))
        else:
            stream += frame(kind, chance.randbytes(chance.randrange(64)) if kind == links.URGENT else b"")
    return stream


def damage(stream: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(4)):
        where = chance.randrange(len(stream))
        stream[where] = chance.choice([0, 1, 2, 7, 8, 255, chance.randrange(256)])


def test_fuzz() -> None:
    """Damaged streams end with an error or not, but nothing crashes, hangs or hands out a broken record."""
    chance = random.Random(2026)
    for _ in range(2000):
        engine, peer = raw_pair(ring_bytes=16384)
        stream = valid_stream(chance)
        damage(stream, chance)
        peer.sendall(stream[: chance.randrange(1, len(stream) + 1)])
        peer.close()
        try:
            while True:
                assert len(engine.next(5000)[5]) <= 16384 // 4
        except ch.ChannelError as error:
            assert error.code in (ch.EPROTO, ch.EPEER)
        engine.close()


# ---- processes


def test_a_forked_child_abandons_the_channel_and_the_parent_goes_on() -> None:
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


COUNT_SOCKETS = """
import os
names = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
print(sum(os.readlink(name).startswith("socket:") for name in names if os.path.lexists(name)))
"""


def test_descriptors_do_not_leak_into_programs() -> None:
    client, engine = pair()
    out = subprocess.run(
        [sys.executable, "-c", COUNT_SOCKETS], capture_output=True, text=True, close_fds=False
    )
    assert out.stdout.strip() == "0", out
    client.close()
    engine.close()


def test_signals_do_not_disturb_a_wait_and_handlers_run() -> None:
    client, engine = pair(spin_us=0)
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        late = in_thread(lambda: (time.sleep(0.4), engine.reply(engine.next(5000)[2], b"fine")))
        assert client.call(64) == b"fine"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    late.join(5)
    assert seen
    client.close()
    engine.close()


WAITS_FOR_EVER = """
import socket, sys
from remora.transport._channel import Channel
channel = Channel(int(sys.argv[1]), service=True, deliver=True)
print("waiting", flush=True)
channel.call(64)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_default_action_of_a_signal_ends_a_waiting_process(number: int) -> None:
    near, far = sockets()
    engine = ch.Channel(near.detach())
    engine.start_reader()
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + WAITS_FOR_EVER
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(far.fileno())], pass_fds=[far.fileno()], stdout=subprocess.PIPE
    )
    far.close()
    assert program.stdout is not None and program.stdout.readline()
    time.sleep(0.1)
    program.send_signal(number)
    assert program.wait(5) == -number
    assert ended(engine)[0] == ch.EPEER
    engine.close()


def wait_for_the_end(channel: ch.Channel) -> None:
    with pytest.raises(ch.ChannelError):
        channel.call(64)


def test_idle_channels_use_no_cpu() -> None:
    pairs = [pair() for _ in range(10)]
    waiter = in_thread(wait_for_the_end, pairs[0][0])
    time.sleep(0.3)
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(3)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 0.03, f"{used:.3f} s of CPU in 3 s"
    for client, engine in pairs:
        client.close()
        engine.close()
    waiter.join(5)
