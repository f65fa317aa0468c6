"""Remora's rdma carrier against a peer written with pyverbs alone: an independent check of the wire."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from remora.transport._channel import EPEER, EPROTO, ESILENT, Carrying, Channel, ChannelError
from tests.rdma import wire
from tests.rdma.peer import RECEIVES, RING, SLOT, WINDOW, Peer
from tests.rdma.verbs import V
from tests.rdma.wire import Brief, EndBlob, Notice

HERE = "10.99.0.1"
OPTIONS = {"ring_bytes": RING, "bulk_window": WINDOW}
pytestmark = pytest.mark.timeout(60)


@dataclass
class Session:
    """Remora's end, the peer's, and the socket whose end tells that the peer died."""

    channel: Channel
    peer: Peer
    lifeline: socket.socket


Open = Callable[..., Session]


@pytest.fixture
def open_session() -> Iterator[Open]:
    """Makes sessions: client (Remora's end is the client's) or not; options of the channel."""
    with ExitStack() as cleanup:

        def open_it(client: bool = True, reads: bool = True, **options: Any) -> Session:
            near, far = sockets()
            peer = cleanup.enter_context(closing(Peer()))
            cleanup.enter_context(far)
            carrying = Carrying("rdma", near.fileno(), silence_ms=options.get("silence_ms", 0), **OPTIONS)
            (greet_as_server if client else greet_as_client)(peer, carrying, reads)
            near.detach()
            options = {"service": client, "deliver": client, "peer": "peer", **OPTIONS, **options}
            channel = Channel(carrying, **options)
            cleanup.callback(channel.close, 0)
            if not client:
                channel.start_reader()
            return Session(channel, peer, far)

        yield open_it


@pytest.fixture
def client(open_session: Open) -> Session:
    return open_session()


@pytest.fixture
def server(open_session: Open) -> Session:
    return open_session(client=False)


def sockets() -> tuple[socket.socket, socket.socket]:
    with socket.create_server((HERE, 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


def greet_as_server(peer: Peer, carrying: Carrying, reads: bool) -> None:
    offered = EndBlob.unpack(carrying.offer())
    assert offered.gid == peer.mine.gid, "both are on the card of the connection's own address"
    peer.greet(carrying.accept(peer.blob()), reads)


def greet_as_client(peer: Peer, carrying: Carrying, reads: bool) -> None:
    port = EndBlob(peer.mine.gid, peer.mine.mtu, *[0] * 13)
    theirs = carrying.prepare(replace(port, reads=peer.mine.reads).pack())
    peer.greet(theirs, reads)
    carrying.connect(peer.blob())


def in_background(work: Callable[..., Any], *arguments: Any) -> Any:
    return ThreadPoolExecutor(1).submit(work, *arguments)


# ---- records


def test_records_land_in_the_peers_ring(client: Session) -> None:
    payloads = [os.urandom(n) for n in (0, 1, 8, 100, 3000)]
    for number, payload in enumerate(payloads):
        client.channel.post(100 + number, payload)
    client.channel.flush()
    client.peer.until(lambda: len(client.peer.records) == len(payloads))
    assert [(op, seq, data) for op, _, seq, data in client.peer.records] == [
        (100 + number, number + 1, payload) for number, payload in enumerate(payloads)
    ]


def test_a_small_batch_is_one_write_whose_immediate_data_says_all(client: Session) -> None:
    client.channel.post(100, b"x" * 40)
    client.channel.flush()
    client.peer.until(lambda: client.peer.records)
    assert client.peer.how == ["brief"]


def test_a_batch_beyond_immediate_data_comes_with_a_notice(client: Session) -> None:
    payload = os.urandom(RING // 4 - 16)  # the longest record, one unit too long for immediate data
    client.channel.post(100, payload)
    client.channel.flush()
    client.peer.until(lambda: client.peer.records)
    assert client.peer.how == ["notice"]
    assert client.peer.records[0][3] == payload


def test_a_call_is_answered(client: Session) -> None:
    for number in range(20):
        asked = in_background(
            client.channel.call,
            200,
            b"question %d" % number,
        )
        client.peer.until(lambda number=number: len(client.peer.records) == number + 1)
        op, flags, seq, payload = client.peer.records[-1]
        assert (op, flags & 1, payload) == (200, 1, b"question %d" % number)
        client.peer.released = client.peer.received
        client.peer.reply(seq, b"answer %d" % number)
        assert asked.result(10)[-len(b"answer %d" % number) :] == b"answer %d" % number


def test_the_peers_records_arrive_in_order_in_both_forms(server: Session) -> None:
    for number in range(50):
        server.peer.send_record(70 + number % 3, bytes([number]) * (number * 20), by_notice=number % 4 == 3)
        op, _, seq, _, _, payload = server.channel.next(5000)
        assert (op, seq, payload) == (70 + number % 3, number + 1, bytes([number]) * (number * 20))


def test_records_wrap_around_both_rings(server: Session) -> None:
    """The peer's records through Remora's ring, and Remora's answers through the peer's, 3 times around."""
    for number in range(3 * RING // 3000):
        server.peer.send_record(80, struct.pack("<I", number) + bytes(2990))
        *_, seq, _, _, payload = server.channel.next(5000)
        assert struct.unpack_from("<I", payload)[0] == number
        server.channel.reply(seq, payload)
        server.channel.flush()
        server.peer.until(lambda number=number: len(server.peer.records) == number + 1)
        assert server.peer.records[number][3].endswith(payload)
        server.peer.released = server.peer.received
    assert server.peer.sent > 2 * RING and server.peer.received > 2 * RING


def quiet(peer: Peer, seconds: float = 0.1) -> None:
    """Takes in what comes until nothing has come for some time."""
    last = time.monotonic()
    while time.monotonic() - last < seconds:
        if peer.poll():
            last = time.monotonic()


def test_a_sender_waits_for_room_in_the_peers_ring(client: Session) -> None:
    count = 3 * RING // 1016
    posted = in_background(client.channel.post_many, 90, bytes(1000), count)
    quiet(client.peer)
    assert not posted.done() and RING - 2048 < client.peer.received <= RING
    while len(client.peer.records) < count:
        before = client.peer.received
        client.peer.release()
        client.peer.until(lambda before=before: client.peer.received > before)
        quiet(client.peer, 0.02)
        client.channel.flush() if posted.done() else None
    posted.result(10)


def test_no_more_immediates_are_under_way_than_there_are_receives(client: Session) -> None:
    """The peer takes them in and posts receives anew, but does not say so."""

    def send() -> None:
        for _ in range(RECEIVES + 50):
            client.channel.post(91)
            client.channel.flush()

    sent = in_background(send)
    quiet(client.peer)
    assert not sent.done() and RECEIVES - 8 <= client.peer.got <= RECEIVES
    client.peer.release()
    client.peer.until(lambda: len(client.peer.records) == RECEIVES + 50)
    sent.result(10)


# ---- bulk messages


@pytest.mark.parametrize(
    ("size", "how"),
    [
        (0, "in the notice"),
        (128, "in the notice"),
        (129, "boxed"),
        (SLOT, "boxed"),
        (SLOT + 1, "read"),
        (1 << 20, "read"),
    ],
)
@pytest.mark.parametrize("tag", [0, 7])
def test_a_bulk_message_reaches_the_peer(client: Session, size: int, how: str, tag: int) -> None:
    data = os.urandom(size)
    sent = in_background(client.channel.bulk, tag, data)
    client.peer.until(lambda: client.peer.messages)
    assert client.peer.messages == [(tag, data)] and client.peer.how == [how]
    client.peer.release((int(tag != 0),))
    sent.result(10)


@pytest.mark.parametrize("size", [0, 128, 129, SLOT, SLOT + 1, 1 << 20])
@pytest.mark.parametrize("tag", [0, 7])
def test_a_bulk_message_comes_from_the_peer(server: Session, size: int, tag: int) -> None:
    data = os.urandom(size)
    server.peer.send_bulk(tag, data)
    server.peer.send_record(99)
    assert server.channel.next(5000)[0] == 99
    assert server.channel.bulk_messages() == [(tag, data)]
    if size > SLOT:
        server.peer.until(lambda: server.peer.their_fetched == 1)


def test_the_window_of_bulk_messages_is_kept(client: Session) -> None:
    def send() -> None:
        for number in range(WINDOW + 5):
            client.channel.bulk(3, bytes([number]) * 200)

    sent = in_background(send)
    client.peer.until(lambda: len(client.peer.messages) == WINDOW)
    quiet(client.peer)
    assert len(client.peer.messages) == WINDOW and not sent.done()
    for _ in range(5):
        client.peer.release((1,))
    client.peer.until(lambda: len(client.peer.messages) == WINDOW + 5)
    sent.result(10)
    assert [data[0] for _, data in client.peer.messages] == list(range(WINDOW + 5))


def test_records_and_bulk_messages_keep_their_order(server: Session) -> None:
    for number in range(WINDOW):
        server.peer.send_bulk(5, bytes([number]) * (1 << 17 if number % 2 else 64))
        server.peer.until(lambda: True)
        server.peer.send_record(60, bytes([number]))
        assert server.channel.next(5000)[5] == bytes([number])
        assert server.channel.bulk_messages() == [(5, bytes([number]) * (1 << 17 if number % 2 else 64))]


# ---- notes


def test_urgent_messages_pass_both_ways(server: Session) -> None:
    server.peer.send_note(wire.URGENT, b"now")
    server.peer.send_record(61)
    server.channel.next(5000)
    assert server.channel.urgent_messages() == [b"now"]
    server.channel.urgent(b"then")
    server.peer.until(lambda: server.peer.notes)
    assert server.peer.notes == [(wire.URGENT, b"then")]


def test_a_ping_is_answered(server: Session) -> None:
    server.peer.send_note(wire.PING)
    server.peer.until(lambda: (wire.PONG, b"") in server.peer.notes)


def test_a_goodbye_says_why(client: Session) -> None:
    client.channel.end("the test is over")
    client.peer.until(lambda: client.peer.notes)
    assert client.peer.notes == [(wire.BYE, b"the test is over")]


def test_the_peers_goodbye_ends_the_channel(client: Session) -> None:
    client.peer.send_note(wire.BYE, b"enough")
    error = ended(client.channel)
    assert error[0] == EPEER and "enough" in error[1]


# ---- a peer that breaks the rules, or dies


def ended(channel: Channel, seconds: float = 10) -> tuple[int, str]:
    """The channel's error, which comes soon."""
    limit = time.monotonic() + seconds
    while channel.error is None:
        assert time.monotonic() < limit, "the channel did not end"
        time.sleep(0.005)
    return channel.error


def breaks(session: Session, *words: str) -> None:
    error, why = ended(session.channel)
    assert error == EPROTO, why
    assert all(word in why for word in words), why


def test_an_immediate_out_of_order_ends_the_channel(server: Session) -> None:
    server.peer.count = 3
    server.peer.send_record(60, b"x" * 8)
    breaks(server, "immediate", "out of order")


def test_a_length_that_is_not_what_was_written_ends_the_channel(server: Session) -> None:
    peer = server.peer
    peer.own.write(bytes(64), 64)
    peer.write(64, 0, peer.theirs.ring_at, peer.theirs.ring_key, Brief(128).pack(0))
    breaks(server, "128 bytes of records where 64 were written")


def test_more_records_than_there_is_credit_for_end_the_channel(server: Session) -> None:
    with pytest.raises((AssertionError, TimeoutError)):
        for _ in range(2 * RING // 4000):
            server.peer.send_record(60, bytes(4000 - 16))
        server.peer.until(lambda: False, 0.5)
    breaks(server)


@pytest.mark.parametrize(
    ("notice", "words"),
    [
        (Notice(0), "unknown kind 0"),
        (Notice(9), "unknown kind 9"),
        (Notice(wire.CREDIT, taken=5), "taken in, more than were sent"),
        (Notice(wire.CREDIT, fetched=1), "more than were announced"),
        (Notice(wire.CREDIT, ring=8), ""),
        (Notice(wire.CREDIT, bulk=(1, 0)), ""),
        (Notice(wire.RECORDS, n=12), ""),
        (Notice(wire.RECORDS, n=1 << 30), ""),
        (Notice(wire.BOXED, n=SLOT + 1, tag=1), f"boxed message of {SLOT + 1}"),
        (Notice(wire.READ, n=16, tag=1), "announcement of 16"),
        (Notice(wire.READ, n=(1 << 20) + 1, tag=1), ""),
        (Notice(wire.NOTE, note=9), "note of kind 9"),
        (Notice(wire.NOTE, note=wire.PING, n=4, following=b"ping"), "note of kind 2"),
        (Notice(wire.BULK, n=200, tag=1), "notice of kind 4"),
        (Notice(wire.BULK, n=3, tag=1, following=b"four"), "notice of kind 4"),
    ],
)
def test_a_notice_that_makes_no_sense_ends_the_channel(server: Session, notice: Notice, words: str) -> None:
    server.peer.send_notice(notice.pack())
    breaks(server, words)


def test_a_notice_that_waits_is_not_looked_at_again(open_session: Open) -> None:
    """It waits behind a message that is still being read; the peer writes its place anew, too long."""
    session = open_session(client=False, reads=False)
    peer, data = session.peer, os.urandom(1 << 16)
    peer.send_bulk(7, data)
    place = peer.theirs.notice_place(peer.count)
    peer.send_bulk(7, b"first")
    peer.send_record(99)
    quiet(peer, 0.2)
    forged = Notice(wire.BULK, n=1 << 20, tag=9, following=b"other").pack()
    peer.own.write(forged, len(forged))
    peer.write(len(forged), 0, place, peer.theirs.box_key)
    assert session.channel.bulk_messages() == [], "nothing can have been read yet"
    peer.connect_bulk()
    assert session.channel.next(5000)[0] == 99
    assert session.channel.bulk_messages() == [(7, data), (7, b"first")]


def announce_what_may_not_be_read(peer: Peer) -> None:
    peer.send_notice(
        Notice(wire.READ, n=1 << 16, tag=1, at=peer.lent.buf, key=peer.lent.rkey ^ 0xFF00).pack()
    )


def test_a_bulk_message_that_may_not_be_read_ends_the_channel(server: Session) -> None:
    announce_what_may_not_be_read(server.peer)
    assert ended(server.channel)[0] == -errno.EREMOTEIO
    with pytest.raises(ChannelError):
        server.channel.next(5000)


def test_a_peer_that_dies_loses_its_memory_first(server: Session) -> None:
    announce_what_may_not_be_read(server.peer)
    time.sleep(0.02)
    server.lifeline.close()
    assert ended(server.channel)[0] == EPEER


def test_writing_outside_ring_and_box_is_refused(server: Session) -> None:
    peer = server.peer
    place = peer.theirs.ring_at + (64 << 20)
    peer.ring.post(V.IBV_WR_RDMA_WRITE, peer.own, 64, to=(place, peer.theirs.ring_key))
    completion = poll_one(peer)
    assert completion.status == V.IBV_WC_REM_ACCESS_ERR


def test_reading_what_was_not_announced_is_refused(server: Session) -> None:
    peer = server.peer
    peer.bulk.post(V.IBV_WR_RDMA_READ, peer.lent, 64, to=(peer.theirs.ring_at, peer.theirs.ring_key))
    with pytest.raises(RuntimeError) as failure:
        peer.bulk.wait()
    assert failure.value.status == V.IBV_WC_REM_ACCESS_ERR  # type: ignore[attr-defined]


def poll_one(peer: Peer) -> Any:
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        count, found = peer.ring.cq.poll(1)
        if count and found[0].opcode != V.IBV_WC_RECV_RDMA_WITH_IMM:
            return found[0]
        os.sched_yield()
    raise TimeoutError


@pytest.mark.parametrize("doing", ["idle", "in a call", "waiting for room", "sending a bulk message"])
def test_a_peer_that_dies_is_noticed_whatever_it_was_doing(client: Session, doing: str) -> None:
    """Its process's end closes everything at once; the socket tells it first."""
    work = {
        "in a call": lambda: client.channel.call(200, b"?"),
        "waiting for room": lambda: client.channel.post_many(90, bytes(1000), RING // 500),
        "sending a bulk message": lambda: [client.channel.bulk(1, bytes(1 << 20)) for _ in range(WINDOW + 1)],
    }.get(doing)
    running = in_background(work) if work else None
    time.sleep(0.1)
    client.lifeline.close()
    client.peer.close()
    assert ended(client.channel)[0] in (EPEER, -errno.ETIMEDOUT, -errno.ECONNRESET)
    if running:
        with pytest.raises(ChannelError):
            running.result(10)


def test_pairs_that_die_alone_are_noticed(client: Session) -> None:
    """The lifeline stays: only the card is gone. What is sent is repeated in vain, for half a second."""
    client.peer.close()
    client.channel.post(100)
    client.channel.flush()
    error, why = ended(client.channel)
    assert error in (EPEER, -errno.ETIMEDOUT), why


def test_a_peer_that_is_silent_counts_as_dead(open_session: Open) -> None:
    session = open_session(silence_ms=600)
    begun = time.monotonic()
    error, why = ended(session.channel)
    assert error == ESILENT, why
    assert 0.4 < time.monotonic() - begun < 5
