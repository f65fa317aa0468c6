"""Bytes that break the rules end the channel with a reason on both sides; nothing crashes or hangs."""

from __future__ import annotations

import random
import time

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance import frames as links
from remora.transport.conformance.ends import RawPair, ended
from remora.transport.conformance.frames import frame, record

pytestmark = pytest.mark.timeout(60)


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
def test_broken_rules_end_the_channel_with_a_reason_on_both_sides(raw_pair: RawPair, name: str) -> None:
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
def test_a_connection_that_ends_inside_a_frame(raw_pair: RawPair, cut: int) -> None:
    engine, peer = raw_pair()
    peer.sendall((frame(links.RECORDS, record(64, bytes(40))) + frame(links.BULK, bytes(40), tag=3))[:cut])
    peer.close()
    code, why = ended(engine)
    assert code == ch.EPEER and "inside a message" in why
    engine.close()


def test_valid_frames_byte_by_byte(raw_pair: RawPair) -> None:
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


def test_fuzz(raw_pair: RawPair) -> None:
    """Damaged streams end with an error or not, but nothing crashes, hangs or hands out a broken record."""
    chance = random.Random(2026)
    for _ in range(2000):
        engine, peer = raw_pair(ring_bytes=16384)
        stream = valid_stream(chance)
        damage(stream, chance)
        peer.sendall(bytes(stream[: chance.randrange(1, len(stream) + 1)]))
        peer.close()
        try:
            while True:
                assert len(engine.next(5000)[5]) <= 16384 // 4
        except ch.ChannelError as error:
            assert error.code in (ch.EPROTO, ch.EPEER)
        engine.close()
