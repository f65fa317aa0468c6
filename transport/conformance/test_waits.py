"""Waiting calls: many at once, cancelled ones, signals, replies out of order, records unasked for."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance.ends import Pair, gather, in_thread, wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("spin_us", [0, 50])
def test_many_waiters_get_their_own_replies_out_of_order(pair: Pair, spin_us: int) -> None:
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


def test_a_wait_that_times_out_leaves_the_channel_working(pair: Pair) -> None:
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


def test_a_leader_that_times_out_hands_the_reading_on(pair: Pair) -> None:
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


def test_unprompted_records_are_read_without_a_waiter(pair: Pair) -> None:
    client, engine = pair()
    for i in range(20):
        engine.post(5, b"%d" % i)
        engine.flush()
        assert gather(client.records, 1, 2)[0][5] == b"%d" % i
    client.close()
    engine.close()


def test_signals_do_not_disturb_a_wait_and_handlers_run(pair: Pair) -> None:
    client, engine = pair(spin_us=0)
    seen: list[int] = []

    def answer_late() -> None:
        time.sleep(0.4)
        engine.reply(engine.next(5000)[2], b"fine")

    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        late = in_thread(answer_late)
        assert client.call(64) == b"fine"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    late.join(5)
    assert seen
    client.close()
    engine.close()
