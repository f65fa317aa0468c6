"""Bulk messages: all sizes, their window, their place among records, both ways at once."""

from __future__ import annotations

import os
import time

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance.ends import Pair, gather, in_thread, send_all, wait_until

pytestmark = pytest.mark.timeout(60)


def test_bulk_of_all_sizes_keeps_its_bytes_and_its_place(pair: Pair) -> None:
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


def test_bulk_window_holds_the_sender_back(pair: Pair) -> None:
    client, engine = pair(bulk_window=4, hold_bulk=True)
    sender = in_thread(send_all, client, 0, [bytes([i]) * 100 for i in range(10)])
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


@pytest.mark.parametrize("spin_us", [0, 50])
def test_bulk_both_ways_at_once(pair: Pair, spin_us: int) -> None:
    client, engine = pair(spin_us=spin_us)
    block = os.urandom(ch.BULK_MAX)
    count = 40
    threads = [in_thread(send_all, end, tag, [block] * count) for end in (client, engine) for tag in (0, 1)]
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()
    wait_until(lambda: {end.stats["bulk_received"] for end in (client, engine)} == {2 * count})
    assert all(data == block for _, data in client.bulk_messages() + engine.bulk_messages())
    client.close()
    engine.close()


def test_a_record_and_its_bulk_messages_stay_together(pair: Pair) -> None:
    client, engine = pair()

    def send(thread: int) -> None:
        for i in range(50):
            parts = [bytes([thread, i, part]) * 1000 for part in range(3)]
            client.post_with_bulk(64, bytes([thread, i]), 0, parts)

    threads = [in_thread(send, thread) for thread in range(4)]
    landed: list[tuple[int, bytes]] = []
    for _ in range(200):
        sender, i = engine.next(5000)[5]
        wanted = [bytes([sender, i, part]) * 1000 for part in range(3)]
        landed += gather(engine.bulk_messages, 3 - len(landed))
        assert [data for _, data in landed[:3]] == wanted
        del landed[:3]
    for thread in threads:
        thread.join(5)
    client.close()
    engine.close()
