"""Records, credits, bulk and urgent messages between two channels in one process."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import threading
import time

import pytest

from remora.transport import _channel as ch

from .links import in_thread, pair, sockets, wait_until

pytestmark = pytest.mark.timeout(60)


def test_records_arrive_in_order_and_whole() -> None:
    client, engine = pair()
    payloads = [os.urandom(random.Random(i).randrange(0, 200)) for i in range(5000)]
    for i, payload in enumerate(payloads):
        client.post(100 + i % 7, payload, ctx=i % 5, thread=i % 3, flags=2)
    for i, payload in enumerate(payloads):
        assert engine.next(5000) == (100 + i % 7, 2, i + 1, i % 5, i % 3, payload)
    client.close()
    engine.close()


def test_wrap_around_with_every_size_of_pad() -> None:
    client, engine = pair(ring_bytes=4096)
    sizes = [random.Random(7).randrange(0, 1024 - 16) for _ in range(4000)]

    def send() -> None:
        for i, size in enumerate(sizes):
            client.post(64, bytes([i % 256]) * size)

    sender = in_thread(send)
    for i, size in enumerate(sizes):
        assert engine.next(5000)[5] == bytes([i % 256]) * size
    sender.join(5)
    assert client.stats["bytes_sent"] > 4096 * 100
    client.close()
    engine.close()


def test_a_pad_of_eight_bytes() -> None:
    client, engine = pair(ring_bytes=4096)
    for round_ in range(50):  # 5 x 816 + 8 = 4088: eight bytes are left for the pad
        for size in (816, 816, 816, 816, 824):
            client.post(64 + round_, bytes(size - 16))
            assert engine.next(5000)[0] == 64 + round_
    client.close()
    engine.close()


def test_a_full_ring_makes_the_sender_wait_and_then_go_on() -> None:
    client, engine = pair(ring_bytes=4096)
    sender = in_thread(client.post_many, 64, bytes(48), 1000)
    wait_until(lambda: client.stats["credit_waits"] > 0)
    time.sleep(0.1)
    assert sender.is_alive()
    assert not client.try_post(64, bytes(900))
    assert engine.skip(1000, 5000) == 1000
    sender.join(5)
    assert not sender.is_alive()
    client.close()
    engine.close()


def test_a_record_larger_than_the_limit_is_refused_and_harms_nothing() -> None:
    client, engine = pair(ring_bytes=8192, record_max=1024)
    with pytest.raises(ValueError, match="too large"):
        client.post(64, bytes(1024))
    client.post(64, bytes(1008))
    assert len(engine.next(5000)[5]) == 1008
    client.close()
    engine.close()


def test_nothing_to_read_times_out() -> None:
    client, engine = pair()
    start = time.monotonic()
    with pytest.raises(ch.ChannelError) as caught:
        engine.next(100)
    assert caught.value.code == ch.ETIMEOUT and 0.09 < time.monotonic() - start < 2
    with pytest.raises(ch.ChannelError):
        engine.next(0)
    client.close()
    engine.close()


def test_bulk_of_all_sizes_keeps_its_bytes_and_its_place() -> None:
    client, engine = pair()
    sizes = [0, 1, 15, 4096, 32768, 65537, ch.BULK_MAX]
    data = [os.urandom(size) for size in sizes]
    for i, payload in enumerate(data):
        client.post(64 + i)
        client.bulk(i, payload)
    client.post(80)
    for i in range(len(sizes)):
        assert engine.next(5000)[0] == 64 + i
    assert engine.next(5000)[0] == 80  # a record sent after bulk messages is seen after them
    assert engine.bulk_messages() == list(enumerate(data))
    with pytest.raises(ch.ChannelError):
        client.bulk(0, bytes(ch.BULK_MAX + 1))
    client.close()
    engine.close()


def test_bulk_window_holds_the_sender_back() -> None:
    client, engine = pair(bulk_window=4, hold_bulk=True)
    sender = in_thread(lambda: [client.bulk(0, bytes([i]) * 100) for i in range(10)])
    wait_until(lambda: engine.stats["bulk_received"] == 4)
    time.sleep(0.1)
    assert engine.stats["bulk_received"] == 4 and sender.is_alive()
    client.bulk(9, b"asked for")  # other tags have a window of their own
    wait_until(lambda: engine.stats["bulk_received"] == 5)
    for _ in range(10):
        engine.release_bulk(0)
        time.sleep(0.01)
    sender.join(5)
    assert not sender.is_alive()
    landed = engine.bulk_messages()
    assert [data[0] for tag, data in landed if tag == 0] == list(range(10))
    client.close()
    engine.close()


def test_bulk_both_ways_at_once() -> None:
    client, engine = pair()
    block = os.urandom(ch.BULK_MAX)
    count = 40
    threads = [in_thread(lambda c=c: [c.bulk(i, block) for i in range(count)]) for c in (client, engine)]
    threads.append(in_thread(lambda: [client.bulk(1000 + i, block) for i in range(count)]))
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()
    wait_until(lambda: engine.stats["bulk_received"] == 2 * count and client.stats["bulk_received"] == count)
    assert all(data == block for _, data in client.bulk_messages() + engine.bulk_messages())
    client.close()
    engine.close()


def test_full_rings_both_ways_with_nobody_taking_records() -> None:
    client, engine = pair(ring_bytes=65536)
    senders = [in_thread(c.post_many, 64, bytes(1000), 3000) for c in (client, engine)]
    wait_until(lambda: engine.stats["credit_waits"] > 0 or engine.stats["records_sent"] == 3000)
    client.urgent(b"still passes")
    wait_until(lambda: engine.stats["bytes_received"] > 0)
    assert engine.skip(3000, 5000) == 3000
    for sender in senders:
        sender.join(10)
        assert not sender.is_alive()
    engine.flush()  # nobody else sends an engine's last records
    wait_until(lambda: client.stats["records_received"] == 3000)
    assert engine.urgent_messages() == [b"still passes"]
    client.close()
    engine.close()


def test_urgent_messages_pass_records_that_wait() -> None:
    client, engine = pair(ring_bytes=4096)
    sender = in_thread(client.post_many, 64, bytes(1000), 100)
    wait_until(lambda: client.stats["credit_waits"] > 0)
    for i in range(200):
        client.urgent(b"u%d" % i)
    got: list[bytes] = []
    wait_until(lambda: got.extend(engine.urgent_messages()) or len(got) == 200)
    assert got == [b"u%d" % i for i in range(200)]
    assert engine.skip(100, 5000) == 100
    sender.join(5)
    with pytest.raises(ch.ChannelError):
        client.urgent(bytes(ch.URGENT_MAX + 1))
    client.close()
    engine.close()


def test_a_record_and_its_bulk_messages_stay_together() -> None:
    client, engine = pair()

    def send(thread: int) -> None:
        for i in range(50):
            parts = [bytes([thread, i, part]) * 1000 for part in range(3)]
            client.post_with_bulk(64, bytes([thread, i]), 0, parts)

    threads = [in_thread(send, thread) for thread in range(4)]
    landed = []
    for _ in range(200):
        thread, i = engine.next(5000)[5]
        wanted = [bytes([thread, i, part]) * 1000 for part in range(3)]
        wait_until(lambda: landed.extend(engine.bulk_messages()) or len(landed) >= 3)
        assert [data for _, data in landed[:3]] == wanted
        del landed[:3]
    for thread in threads:
        thread.join(5)
    client.close()
    engine.close()


def test_many_senders_keep_each_ones_order() -> None:
    client, engine = pair(ring_bytes=16384)
    threads = [
        in_thread(lambda t=t: [client.post(64, b"%d" % i, thread=t) for i in range(2000)]) for t in range(8)
    ]
    seen = [0] * 8
    for _ in range(8 * 2000):
        _, _, _, _, thread, payload = engine.next(5000)
        assert payload == b"%d" % seen[thread]
        seen[thread] += 1
    for thread in threads:
        thread.join(5)
    client.close()
    engine.close()


@pytest.mark.parametrize("spin_us", [0, 50])
def test_many_waiters_get_their_own_replies_out_of_order(spin_us: int) -> None:
    client, engine = pair(spin_us=spin_us)
    done = threading.Event()

    def answer() -> None:
        held: list[tuple[int, bytes]] = []
        while not done.is_set():
            try:
                record = engine.next(1)
                held.append((record[2], record[5]))
            except ch.ChannelError as error:
                if error.code != ch.ETIMEOUT:
                    return
            if len(held) >= 6 or (held and not random.randrange(3)):
                random.shuffle(held)
                with contextlib.suppress(ch.ChannelError):  # the client may close on the last one
                    for seq, payload in held:
                        engine.reply(seq, payload)
                held.clear()

    server = in_thread(answer)
    wrong: list[object] = []

    def ask(thread: int) -> None:
        for i in range(200):
            text = b"%d %d" % (thread, i)
            if client.call(64, text, timeout_ms=20000) != text:
                wrong.append(text)

    askers = [in_thread(ask, thread) for thread in range(8)]
    for asker in askers:
        asker.join(40)
        assert not asker.is_alive()
    done.set()
    assert not wrong
    client.close()
    engine.close()
    server.join(5)


def test_a_wait_that_times_out_leaves_the_channel_working() -> None:
    client, engine = pair()
    for _ in range(3):
        with pytest.raises(ch.ChannelError) as caught:
            client.call(64, b"slow", timeout_ms=50)
        assert caught.value.code == ch.ETIMEOUT
    late = [engine.next(5000)[2] for _ in range(3)]
    for seq in late:
        engine.reply(seq, b"too late")
    wait_until(lambda: len(client.records()) > 0 or client.stats["records_received"] == 3)
    echo = in_thread(engine.echo)
    assert client.call(64, b"again", timeout_ms=5000) == b"again"
    client.close()
    echo.join(5)
    engine.close()


def test_a_leader_that_times_out_hands_the_reading_on() -> None:
    client, engine = pair(spin_us=0)
    answers: list[bytes] = []
    follower = None

    def lead() -> None:
        with pytest.raises(ch.ChannelError):
            client.call(64, b"never answered", timeout_ms=150)

    leader = in_thread(lead)
    engine.next(5000)
    follower = in_thread(lambda: answers.append(client.call(64, b"answered", timeout_ms=10000)))
    seq = engine.next(5000)[2]
    leader.join(5)
    engine.reply(seq, b"yes")
    follower.join(5)
    assert answers == [b"yes"]
    client.close()
    engine.close()


def test_unprompted_records_are_read_without_a_waiter() -> None:
    client, engine = pair()
    for i in range(20):
        engine.post(5, b"%d" % i)
        engine.flush()
        got: list[tuple[int, ...]] = []
        wait_until(lambda got=got: got.extend(client.records()) or got, 2)
        assert got[0][5] == b"%d" % i
    client.close()
    engine.close()


def test_batches_grow_with_load_and_credits_ride_along() -> None:
    client, engine = pair()
    client.post_many(64, bytes(48), 20000)
    assert engine.skip(20000, 5000) == 20000
    assert client.stats["sends"] < 5000
    before = engine.stats["sends"]
    echo = in_thread(engine.echo)
    for _ in range(200):
        client.call(64, bytes(48))
    assert engine.stats["sends"] - before <= 202  # one send a reply, no credits of their own
    client.close()
    echo.join(5)
    engine.close()


def test_the_first_frame_is_as_documented() -> None:
    """The example of docs/wire.md."""
    near, far = sockets()
    client = ch.Channel(near.detach(), service=True, deliver=True)
    client.post(100, struct.pack("<Q", 42), flags=ch.F_WAITS, ctx=1, thread=1)
    client.flush()
    example = "01000000180000000000000000000000 64000100180000000100000001000100 2a00000000000000"
    assert far.recv(4096) == bytes.fromhex(example)
    far.close()
    client.close()
