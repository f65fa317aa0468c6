"""Copies out, sent from device memory that the worker sees, and through staging where it sees none."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from remora.engine.server import Server
from tests.engine.peer import WAITS, Peer

MIB = 1 << 20
INVALID_VALUE, ILLEGAL_ADDRESS = 1, 700
MADE = 64  # the first id of contexts that a client makes


@pytest.fixture(scope="module", params=["1", "0"], ids=["seen", "unseen"])
def engine(request: pytest.FixtureRequest) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMORA_SOFTGPU_VISIBLE", request.param)
        patch.setenv("REMORA_SOFTGPU_MEMORY_MIB", "512")
        server = Server("127.0.0.1:0", "softgpu")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def peer(engine: Server) -> Iterator[Peer]:
    made = Peer(engine.address)
    yield made
    made.close()


def fill(peer: Peer, at: int, value: int, size: int, ctx: int = 1) -> None:
    peer.post("cuMemsetD8Async", struct.pack("<QBxxxxxxxQQ", at, value, size, 0), ctx)


def ask_out(peer: Peer, at: int, size: int, token: int, flags: int, ctx: int = 1) -> None:
    peer.post("copy_out", struct.pack("<7Q", 0, at, size, size, 1, token, flags), ctx)


def came(peer: Peer, token: int) -> bytes:
    return b"".join(data for tag, data in peer.channel.bulk_messages() if tag == token)


@pytest.mark.parametrize("size", [1, 40_000, MIB, 3 * MIB + 1, 20 * MIB])
@pytest.mark.parametrize("flags", [0, 1], ids=["posted", "waited"])
def test_the_bytes_are_those_of_their_point_of_the_stream(peer: Peer, size: int, flags: int) -> None:
    """Fills before and after a copy: nothing of the later one is seen. A large copy that is waited for
    counts on that: nothing is queued behind it."""
    _, at = peer.alloc(size)
    for token in range(1, 6):
        fill(peer, at, token, size)
        ask_out(peer, at, size, token, flags)
        if not flags or size <= MIB:
            fill(peer, at, 200 + token, size)
        assert peer.done(token) == 0
        assert came(peer, token) == bytes([token]) * size


@pytest.mark.parametrize("size", [40_000, 2 * MIB, 12 * MIB])
def test_rows_and_odd_places(peer: Peer, size: int) -> None:
    """Rows with gaps are never sent in place; packed ones start anywhere."""
    width, pitch = size // 4, size // 4 + 333
    rows = [os.urandom(width) for _ in range(4)]
    _, at = peer.alloc(pitch * 4 + 3)
    for index, row in enumerate(rows):
        for start in range(0, width, MIB):
            peer.copy_in(at + 3 + index * pitch + start, row[start : start + MIB])
    peer.post("copy_out", struct.pack("<7Q", 0, at + 3, pitch, width, 4, 9, 1))
    assert peer.done(9) == 0 and came(peer, 9) == b"".join(rows)
    assert peer.copy_out(at + 3 + pitch, width, 10) == (0, rows[1])


def test_copies_out_wait_for_the_default_stream(peer: Peer) -> None:
    """A stream that is idle has the default stream's work before it."""
    _, at = peer.alloc(MIB)
    peer.post("stream_create", struct.pack("<QIi", 1, 0, 0))
    fill(peer, at, 1, MIB)
    assert peer.copy_out(at, MIB, 5, 17) == (0, bytes([1]) * MIB)
    peer.post("host_func", struct.pack("<QQ", 0, 42))
    peer.wait_for(lambda kind, *_: kind == 3, 20)
    fill(peer, at, 2, MIB)
    peer.post("copy_out", struct.pack("<7Q", 17, at, MIB, MIB, 1, 6, 1))
    assert peer.info() and not peer.seen and came(peer, 6) == b""
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 42))
    assert peer.done(6) == 0 and came(peer, 6) == bytes([2]) * MIB


def test_memory_that_goes_while_it_is_sent(peer: Peer) -> None:
    """A free waits for its device's primary context only: here it overtakes copies of another context."""
    size = 48 * MIB
    peer.post("ctx_create", struct.pack("<QII", MADE, 0, 0))
    for token in range(1, 13):
        status, at = peer.alloc(size, MADE)
        assert status == 0
        fill(peer, at, token, size, MADE)
        assert peer.call("ctx_sync", b"", MADE)[0] == 0
        ask_out(peer, at, size, token, 1, MADE)
        assert peer.free(at) == 0
        status = peer.done(token)
        data = came(peer, token)
        assert status in (0, INVALID_VALUE, ILLEGAL_ADDRESS)
        if status == ILLEGAL_ADDRESS:  # the device itself met the free; its context is broken, as CUDA has it
            return
        assert data == bytes([token]) * (size if status == 0 else len(data))
    assert peer.info()[0] == peer.info()[1]


def test_a_copy_of_freed_memory_is_refused(peer: Peer) -> None:
    _, at = peer.alloc(4 * MIB)
    assert peer.free(at) == 0
    for size in (MIB, 4 * MIB):
        assert peer.copy_out(at, size, 3) == (INVALID_VALUE, b"")


def test_a_context_is_waited_for_with_all_its_streams(peer: Peer) -> None:
    for stream in (1, 2):
        peer.post("stream_create", struct.pack("<QIi", stream, 1, 0))
    assert peer.call("ctx_sync")[0] == 0
    peer.post("host_func", struct.pack("<QQ", 17, 42))
    peer.wait_for(lambda kind, *_: kind == 3, 20)
    waiting = peer.post("ctx_sync", flags=WAITS)
    assert peer.call("stream_sync", struct.pack("<Q", 18))[0] == 0
    assert not any(number == waiting for _, number, _ in peer.seen)
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 42))
    assert peer.wait_for(lambda kind, number, _: kind == 1 and number == waiting, 20)[:4] == bytes(4)
    for stream in (1, 2):
        peer.post("stream_destroy", struct.pack("<Q", stream))
    assert peer.call("ctx_sync")[0] == 0
