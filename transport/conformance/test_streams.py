"""What base.py asks of a transport's streams, method by method; for transports written in Python.

Must not know: channels.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from remora.transport.base import Stream, Transport, load
from remora.transport.relay import send_all

from .backend import SECONDS, wanted
from .ends import in_child, in_future

pytestmark = pytest.mark.timeout(60)
PIECE = 256 << 10
PATIENCE = float(
    os.environ.get("REMORA_CONFORMANCE_PATIENCE", "10")
)  # seconds until a wait counts as endless
Streams = tuple[Stream, Stream]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "transport" in metafunc.fixturenames:
        metafunc.parametrize("transport", [name for name in wanted("") if ":" in name], indirect=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> Transport:
    return load(request.param)


@pytest.fixture
def streams(transport: Transport) -> Iterator[Streams]:
    """A connected pair."""
    listener = transport.listen("")
    accepted = in_future(listener.accept)
    near = transport.connect(listener.address, SECONDS)
    far = accepted.result(SECONDS)
    listener.close()
    yield near, far
    near.close()
    far.close()


def receive_all(stream: Stream, limit: int = 1 << 40, room_bytes: int = PIECE) -> bytes:
    """Up to limit bytes, or until the peer has finished."""
    room, data = memoryview(bytearray(room_bytes)), bytearray()
    while len(data) < limit:
        count = stream.receive_into(room[: min(room_bytes, limit - len(data))])
        assert 0 <= count <= room_bytes
        if not count:
            break
        data += room[:count]
    return bytes(data)


def ends(work: Callable[[], Any]) -> bool:
    """Does work return 0 or raise OSError, within PATIENCE?"""
    done = in_future(work)
    return wait([done], PATIENCE).not_done == set() and ends_well(done.result)


def ends_well(work: Callable[[], Any]) -> bool:
    try:
        return not work()
    except OSError:
        return True


def one_byte(stream: Stream) -> int:
    return stream.receive_into(memoryview(bytearray(1)))


@pytest.mark.parametrize("size", [1, 1000, PIECE, 5_000_000])
def test_bytes_arrive_whole_and_in_order_in_both_directions(streams: Streams, size: int) -> None:
    data = [random.Random(size + i).randbytes(size) for i in range(2)]
    sent = [in_future(partial(send_pieces, *one)) for one in zip(streams, data, strict=True)]
    received = [in_future(partial(receive_all, stream, size)) for stream in streams]
    assert received[1].result(PATIENCE) == data[0]
    assert received[0].result(PATIENCE) == data[1]
    for future in sent:
        future.result(PATIENCE)


def send_pieces(stream: Stream, data: bytes) -> None:
    for at in range(0, len(data), PIECE):
        send_all(stream, memoryview(data)[at : at + PIECE])


def test_a_send_takes_some_bytes_and_the_memory_may_be_used_again(streams: Streams) -> None:
    near, far = streams
    memory = bytearray(b"a" * 1000)
    count = near.send(memoryview(memory))
    assert 1 <= count <= 1000
    memory[:] = b"b" * 1000
    assert receive_all(far, count) == b"a" * count


def test_a_small_room_loses_nothing(streams: Streams) -> None:
    near, far = streams
    data = os.urandom(10_000)
    sent = in_future(lambda: send_pieces(near, data))
    assert receive_all(far, 10_000, room_bytes=7) == data
    sent.result(30)


def test_receiving_does_not_wait_for_a_full_room(streams: Streams) -> None:
    near, far = streams
    for _ in range(20):
        send_all(near, memoryview(b"call"))
        assert receive_all(far, 4, room_bytes=4) == b"call"
        send_all(far, memoryview(b"answer"))
        room = memoryview(bytearray(PIECE))
        got = in_future(partial(near.receive_into, room))
        assert 1 <= got.result(PATIENCE) <= 6, "a reply that has come is handed out at once"
        receive_all(near, 6 - got.result())


def test_a_sender_waits_for_a_peer_that_takes_nothing(streams: Streams) -> None:
    """Else a slow peer would fill this machine's memory."""
    near, far = streams
    sent = [0]

    def flood() -> None:
        piece = memoryview(os.urandom(PIECE))  # nothing that could be packed small
        while sent[0] < 256 << 20:
            sent[0] += near.send(piece)

    future = in_future(flood)
    time.sleep(0.5)
    before = sent[0]
    time.sleep(0.5)
    assert sent[0] == before < 256 << 20, "it went on sending, and nobody received"
    receive_all(far, 4 << 20)
    time.sleep(0.2)
    assert sent[0] > before, "it goes on once the peer receives"
    near.close()
    far.close()
    assert ends(future.result)


def test_finish_ends_one_direction_after_all_that_was_sent(streams: Streams) -> None:
    near, far = streams

    def send_and_finish() -> None:
        send_pieces(near, b"x" * 3_000_000)
        near.finish()

    sent = in_future(send_and_finish)
    assert receive_all(far) == b"x" * 3_000_000
    assert one_byte(far) == 0, "it stays at its end"
    sent.result(PATIENCE)
    send_all(far, memoryview(b"still open this way"))
    assert receive_all(near, 19) == b"still open this way"
    far.finish()
    assert receive_all(near) == b""


@pytest.mark.parametrize("end", [0, 1], ids=["here", "by the peer"])
def test_close_ends_waits_within_seconds(streams: Streams, end: int) -> None:
    near, _ = streams
    receiving: Future[Any] = in_future(lambda: one_byte(near))

    def flood() -> int:
        while True:
            near.send(memoryview(bytes(PIECE)))

    sending: Future[Any] = in_future(flood)
    time.sleep(0.3)
    assert not receiving.done()
    streams[end].close()
    assert ends(receiving.result)
    assert ends(sending.result)
    streams[end].close()


def test_a_dead_peer_is_noticed(transport: Transport) -> None:
    with closing(transport.listen("")) as listener:
        address = listener.address
        read, write = os.pipe()

        def peer() -> None:
            stream = transport.connect(address, SECONDS)
            send_all(stream, memoryview(b"alive"))
            os.read(read, 1)
            os._exit(9)

        pid = in_child(peer)
        stream = listener.accept()
    assert receive_all(stream, 5) == b"alive"
    os.write(write, b"x")
    start = time.monotonic()
    assert ends(lambda: one_byte(stream))
    assert time.monotonic() - start < PATIENCE
    os.waitpid(pid, 0)
    stream.close()


def test_many_streams_at_a_time_stay_apart(transport: Transport) -> None:
    with closing(transport.listen("")) as listener:
        pairs: list[Streams] = []
        for _ in range(20):
            accepted = in_future(listener.accept)
            near = transport.connect(listener.address, SECONDS)
            pairs.append((near, accepted.result(SECONDS)))
    for i, (near, _) in enumerate(pairs):
        send_all(near, memoryview(b"%02d" % i))
    for i, (_, far) in enumerate(pairs):
        assert receive_all(far, 2) == b"%02d" % i
    for near, far in pairs:
        near.close()
        far.close()


def test_a_listener_that_is_closed_accepts_no_more(transport: Transport) -> None:
    listener = transport.listen("")
    assert listener.address and not any(c.isspace() for c in listener.address)
    waiting = in_future(listener.accept)
    time.sleep(0.2)
    listener.close()
    with pytest.raises(OSError):
        waiting.result(PATIENCE)
    listener.close()
    with pytest.raises(OSError):
        transport.connect(listener.address, 1.0)


def test_streams_outlive_their_listener(transport: Transport) -> None:
    listener = transport.listen("")
    accepted = in_future(listener.accept)
    near = transport.connect(listener.address, SECONDS)
    far = accepted.result(SECONDS)
    listener.close()
    send_all(near, memoryview(b"on"))
    assert receive_all(far, 2) == b"on"
    near.close()
    far.close()
