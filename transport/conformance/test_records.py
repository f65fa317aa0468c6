"""Records: order, wrap-around, partial sends, credits, many threads."""

from __future__ import annotations

import os
import random
import time

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance.ends import Pair, gather, in_thread, wait_until

pytestmark = pytest.mark.timeout(60)


def test_records_arrive_in_order_and_whole(pair: Pair) -> None:
    client, engine = pair()
    payloads = [os.urandom(random.Random(i).randrange(0, 200)) for i in range(5000)]

    def post_all() -> None:
        for i, payload in enumerate(payloads):
            client.post(100 + i % 7, payload, ctx=i % 5, thread=i % 3, flags=2)

    sender = in_thread(post_all)
    for i, payload in enumerate(payloads):
        assert engine.next(5000) == (100 + i % 7, 2, i + 1, i % 5, i % 3, payload)
    sender.join(5)
    client.close()
    engine.close()


def test_wrap_around_with_every_size_of_pad(pair: Pair) -> None:
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


def test_a_pad_of_eight_bytes(pair: Pair) -> None:
    client, engine = pair(ring_bytes=4096)
    for round_ in range(50):  # 5 x 816 + 8 = 4088: eight bytes are left for the pad
        for size in (816, 816, 816, 816, 824):
            client.post(64 + round_, bytes(size - 16))
            assert engine.next(5000)[0] == 64 + round_
    client.close()
    engine.close()


def test_a_full_ring_makes_the_sender_wait_and_then_go_on(pair: Pair) -> None:
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


def test_a_record_larger_than_the_limit_is_refused_and_harms_nothing(pair: Pair) -> None:
    client, engine = pair(ring_bytes=8192, record_max=1024)
    with pytest.raises(ValueError, match="too large"):
        client.post(64, bytes(1024))
    client.post(64, bytes(1008))
    assert len(engine.next(5000)[5]) == 1008
    client.close()
    engine.close()


def test_nothing_to_read_times_out(pair: Pair) -> None:
    client, engine = pair()
    start = time.monotonic()
    with pytest.raises(ch.ChannelError) as caught:
        engine.next(100)
    assert caught.value.code == ch.ETIMEOUT and 0.09 < time.monotonic() - start < 2
    with pytest.raises(ch.ChannelError):
        engine.next(0)
    client.close()
    engine.close()


def test_full_rings_both_ways_with_nobody_taking_records(pair: Pair) -> None:
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


def test_urgent_messages_pass_records_that_wait(pair: Pair) -> None:
    client, engine = pair(ring_bytes=4096)
    sender = in_thread(client.post_many, 64, bytes(1000), 100)
    wait_until(lambda: client.stats["credit_waits"] > 0)
    for i in range(200):
        client.urgent(b"u%d" % i)
    got = gather(engine.urgent_messages, 200)
    assert got == [b"u%d" % i for i in range(200)]
    assert engine.skip(100, 5000) == 100
    sender.join(5)
    with pytest.raises(ch.ChannelError):
        client.urgent(bytes(ch.URGENT_MAX + 1))
    client.close()
    engine.close()


def test_many_senders_keep_each_ones_order(pair: Pair) -> None:
    client, engine = pair(ring_bytes=16384)
    threads = [
        in_thread(lambda t=t: [client.post(64, b"%d" % i, thread=t) for i in range(2000)]) for t in range(8)
    ]
    seen = [0] * 8
    for _ in range(8 * 2000):
        _, _, _, _, number, payload = engine.next(5000)
        assert payload == b"%d" % seen[number]
        seen[number] += 1
    for thread in threads:
        thread.join(5)
    client.close()
    engine.close()


def test_batches_grow_with_load_and_credits_ride_along(pair: Pair) -> None:
    client, engine = pair()
    sender = in_thread(client.post_many, 64, bytes(48), 20000)
    assert engine.skip(20000, 5000) == 20000
    sender.join(5)
    assert client.stats["sends"] < 5000
    before = engine.stats["sends"]
    echo = in_thread(engine.echo)
    for _ in range(200):
        client.call(64, bytes(48))
    assert engine.stats["sends"] - before <= 202  # one send a reply, no credits of their own
    client.close()
    echo.join(5)
    engine.close()
