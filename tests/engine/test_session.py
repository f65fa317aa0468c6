"""What a session's records do, sent by a client that may say anything."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import struct
import time
from collections.abc import Callable

import pytest

from remora.engine import client
from remora.engine.images import fits
from remora.engine.server import Server
from remora.transport._channel import ChannelError
from tests.engine.peer import OP, TABLE, WAITS, Peer

Attach = Callable[..., Peer]
INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, INVALID_HANDLE, NOT_FOUND = 1, 2, 201, 400, 500
INVALID_DEVICE, PEER_ACCESS_UNSUPPORTED = 101, 217
MIB = 1 << 20


def eventually(check: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def session_free(server: Server) -> bool:
    """Whether nobody holds anything."""
    return all(gpu["free"] == gpu["memory"] for gpu in client.list_gpus(server.address))


@pytest.mark.parametrize("size", [1, 1000, 32768, 32769, MIB])
def test_copies_in_and_out(attach: Attach, size: int) -> None:
    peer = attach()
    data = os.urandom(size)
    status, at = peer.alloc(size)
    assert status == 0
    peer.copy_in(at, data)
    assert peer.copy_out(at, size, 7) == (0, data)
    assert peer.free(at) == 0


def test_a_large_copy_out_goes_through_few_pieces(attach: Attach) -> None:
    peer = attach()
    pieces = [os.urandom(MIB) for _ in range(20)]
    _, at = peer.alloc(20 * MIB + 5)
    for index, piece in enumerate(pieces):
        peer.copy_in(at + index * MIB, piece)
    status, data = peer.copy_out(at, 20 * MIB + 5, 9)
    assert status == 0 and len(data) == 20 * MIB + 5 and data[: 20 * MIB] == b"".join(pieces)


def test_rows_with_a_pitch(attach: Attach) -> None:
    peer = attach()
    _, at = peer.alloc(1000)
    peer.copy_in(at, bytes(1000))
    peer.post("copy_in", struct.pack("<6Q", 0, at, 100, 10, 5, 0) + bytes(range(50)))
    status, data = peer.copy_out(at, 1000, 3)
    assert status == 0
    assert [data[row * 100 : row * 100 + 11] for row in range(5)] == [
        bytes(range(row * 10, row * 10 + 10)) + b"\0" for row in range(5)
    ]


def test_the_quota_holds_to_the_byte(server: Server, attach: Attach) -> None:
    with client.request_lease(server.address, mem_mib=64) as lease:
        peer, other = attach(lease.ticket), attach(lease.ticket)
        whole = 64 * MIB
        assert peer.alloc(whole + 1)[0] == OUT_OF_MEMORY
        status, at = peer.alloc(whole - 1)
        assert status == 0 and other.info() == (1, whole)
        status, one = other.alloc(1)
        assert status == 0 and peer.alloc(1)[0] == OUT_OF_MEMORY
        assert peer.free(at) == 0 and peer.info() == (whole - 1, whole)
        assert other.free(one) == 0 and peer.alloc(whole)[0] == 0


def test_memory_freed_in_stream_order_can_be_had_again(server: Server, attach: Attach) -> None:
    with client.request_lease(server.address, mem_mib=64) as lease:
        peer = attach(lease.ticket)
        for _ in range(20):
            status, at = peer.alloc(64 * MIB)
            assert status == 0
            peer.post("mem_free_async", struct.pack("<QQ", 0, at))


def test_a_dying_client_frees_what_it_held(server: Server, attach: Attach) -> None:
    with client.request_lease(server.address, mem_mib=64) as lease:
        peer, other = attach(lease.ticket), attach(lease.ticket)
        assert peer.alloc(60 * MIB)[0] == 0 and other.alloc(10 * MIB)[0] == OUT_OF_MEMORY
        peer.channel.close(0)
        eventually(lambda: other.alloc(10 * MIB)[0] == 0)


def test_a_dying_worker_harms_nobody_else(server: Server, attach: Attach) -> None:
    with client.request_lease(server.address, mem_mib=64) as lease:
        peer, other = attach(lease.ticket), attach(lease.ticket)
        assert peer.alloc(60 * MIB)[0] == 0
        first = min(server.sessions.values(), key=lambda session: session.number)
        assert first.worker is not None
        os.kill(first.worker.process.pid, signal.SIGKILL)
        assert peer.ended()
        eventually(lambda: other.alloc(60 * MIB)[0] == 0)
    eventually(lambda: session_free(server))


def test_two_leases_share_a_gpu(server: Server, attach: Attach) -> None:
    with (
        client.request_lease(server.address, fraction=0.5) as one,
        client.request_lease(server.address, fraction=0.5) as two,
    ):
        first, second = attach(one.ticket), attach(two.ticket)
        assert first.alloc(100 * MIB)[0] == second.alloc(100 * MIB)[0] == 0
        assert first.info()[0] == second.info()[0] == 156 * MIB


def test_counts(server: Server, attach: Attach) -> None:
    peer = attach()
    for _ in range(10):
        peer.call("cuCtxGetLimit", struct.pack("<ii", 0, 0))
    session = client.stats(server.address)["sessions"][-1]
    assert session["calls"] == session["answers"] == 10 and session["program"] == "peer"


# ---- forged


@pytest.mark.parametrize(
    ("op", "payload"),
    [
        ("stream_sync", struct.pack("<Q", 16 + 77)),
        ("stream_sync", struct.pack("<Q", 5)),
        ("stream_sync", struct.pack("<Q", 2**64 - 1)),
        ("event_sync", struct.pack("<Q", 12345)),
        ("event_sync", struct.pack("<Q", 2**63)),
        ("function_get", struct.pack("<QQ", 999, 1) + b"name"),
        ("global_get", struct.pack("<Q", 2**40) + b"name"),
        ("cuFuncLoad", struct.pack("<Q", 31337)),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:8].hex(),
)
def test_forged_handles(attach: Attach, op: str, payload: bytes) -> None:
    peer = attach()
    assert peer.call(op, payload)[0] == INVALID_HANDLE
    assert peer.info()


@pytest.mark.parametrize("ctx", [3, 63, 64, 65535])
def test_forged_contexts(attach: Attach, ctx: int) -> None:
    peer = attach()
    assert peer.call("mem_alloc", struct.pack("<Q", 4096), ctx)[0] == INVALID_CONTEXT
    assert peer.info()


@pytest.mark.parametrize("ptr", [1, 0xDEAD0000, 2**64 - 4096, 0x7FFF_FFFF_F000])
def test_forged_pointers(attach: Attach, ptr: int) -> None:
    peer = attach()
    assert peer.free(ptr) == INVALID_VALUE
    assert peer.copy_out(ptr, 64, 5)[0] == INVALID_VALUE
    peer.post("copy_in", struct.pack("<6Q", 0, ptr, 64, 64, 1, 0) + bytes(64))
    assert peer.call("ctx_sync")[0] == INVALID_VALUE
    peer.post("cuMemsetD8Async", struct.pack("<QBxxxxxxxQQ", ptr, 1, 64, 0))
    assert peer.call("ctx_sync")[0] == INVALID_VALUE
    assert peer.call("ctx_sync")[0] == 0


def test_copies_past_the_end(attach: Attach) -> None:
    peer = attach()
    _, at = peer.alloc(4 * MIB)
    for src, pitch, width, rows in [
        (at, 1, 64 * MIB, 1),
        (at, 2**60, 8, 2**20),
        (at, 2 * MIB, 8, 4),
        (at, 4, 8, 2),
        (at, 8, 0, 1),
        (at, 8, 8, 0),
        (at, 2**63, 2**63, 2),
    ]:
        peer.post("copy_out", struct.pack("<7Q", 0, src, pitch, width, rows, 11, 1))
        assert peer.done(11) == INVALID_VALUE


def test_a_deferred_error_is_told_once_and_instead(attach: Attach) -> None:
    peer = attach()
    peer.post("stream_destroy", struct.pack("<Q", 9))
    before = peer.call("mem_alloc", struct.pack("<Q", 4096))
    assert before[0] == INVALID_HANDLE
    free, total = peer.info()
    assert free == total


def test_ids_in_use_are_refused(attach: Attach) -> None:
    peer = attach()
    create = struct.pack("<QIi", 1, 1, 0)
    peer.post("stream_create", create)
    assert peer.call("stream_sync", struct.pack("<Q", 17))[0] == 0
    peer.post("stream_create", create)
    assert peer.call("ctx_sync")[0] == INVALID_HANDLE
    peer.post("stream_destroy", struct.pack("<Q", 1))
    assert peer.call("stream_sync", struct.pack("<Q", 17))[0] == INVALID_HANDLE


# ---- broken


@pytest.mark.parametrize(
    ("op", "payload"),
    [
        (63, b""),
        (79, b"x" * 100),
        (60000, b""),
        (OP["mem_alloc"], b"1234567"),
        (OP["mem_alloc"], bytes(16)),
        (OP["stream_create"], b""),
        (OP["launch"], bytes(20)),
        (OP["launch"], struct.pack("<QQ8III", 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1 << 30, 0)),
        (OP["launch"], struct.pack("<QQ8III", 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1 << 31)),
        (OP["copy_in"], struct.pack("<6Q", 0, 0, 100, 100, 1, 0) + bytes(99)),
        (OP["copy_in"], struct.pack("<6Q", 0, 0, 2**40, 2**40, 1, 0)),
        (OP["image_data"], bytes(32) + struct.pack("<QQQ", 100, 0, 100) + bytes(10)),
    ],
    ids=lambda value: str(value if isinstance(value, int) else len(value)),
)
def test_a_broken_record_ends_its_session_and_no_other(attach: Attach, op: int, payload: bytes) -> None:
    other, peer = attach(), attach()
    assert peer.call("ctx_sync")[0] == 0
    with contextlib.suppress(ChannelError):  # it may be told while it still sends
        peer.post(op, payload)
    assert f"operation {op}" in peer.ended()
    assert other.call("ctx_sync")[0] == 0


def test_a_callback_that_nobody_asked_for(attach: Attach) -> None:
    peer = attach()
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 99))
    peer.channel.urgent(b"\xff" * 64)
    assert peer.info()


def test_bulk_that_nobody_asked_for_ends_the_session(attach: Attach) -> None:
    peer = attach()
    assert peer.info()
    with contextlib.suppress(ChannelError):  # the end may come before the call returns
        peer.channel.bulk(1234, b"x" * 100)
    assert peer.ended()


def test_many_waits_at_once(attach: Attach) -> None:
    peer = attach()
    _, at = peer.alloc(MIB)
    for stream in range(1, 41):
        peer.post("stream_create", struct.pack("<QIi", stream, 1, 0))
    wanted = []
    for stream in range(1, 41):
        peer.post("cuMemsetD8Async", struct.pack("<QBxxxxxxxQQ", at, stream, MIB, stream + 16))
        wanted.append(peer.post("stream_sync", struct.pack("<Q", stream + 16), flags=WAITS))
    for seq in wanted:
        assert peer.wait_for(lambda kind, number, _, seq=seq: kind == 1 and number == seq, 20)[:4] == bytes(4)


# ---- images


def test_images_must_be_what_their_hash_says(attach: Attach) -> None:
    peer = attach()
    image, key = b"garbage", os.urandom(32)
    load = struct.pack("<QII", 1, 0, 0) + key + struct.pack("<Q", len(image))
    assert struct.unpack_from("<I", peer.call("module_load", load)[1])[0] == 0
    peer.post("image_data", key + struct.pack("<QQQ", len(image), 0, len(image)) + image)
    assert peer.call("module_load", load)[0] == 200


def test_images_that_hold_pointers_are_refused() -> None:
    """nvcc's wrapper leads to its image by a pointer, which a driver would follow in the worker."""
    assert not fits(memoryview(struct.pack("<IIQQ", 0x466243B1, 1, 0x1000, 0)))
    assert fits(memoryview(b".version 8.0\0"))


def test_a_host_function_holds_its_stream_only(attach: Attach) -> None:
    peer = attach()
    for stream in (1, 2):
        peer.post("stream_create", struct.pack("<QIi", stream, 1, 0))
    peer.post("host_func", struct.pack("<QQ", 17, 42))
    callback = peer.wait_for(lambda kind, *_: kind == 3, 20)
    assert struct.unpack_from("<Q", callback)[0] == 42
    held = peer.post("stream_sync", struct.pack("<Q", 17), flags=WAITS)
    assert peer.call("stream_sync", struct.pack("<Q", 18))[0] == 0
    assert not any(number == held for _, number, _ in peer.seen)
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 42))
    assert peer.wait_for(lambda kind, number, _: kind == 1 and number == held, 20)[:4] == bytes(4)


def test_a_session_that_ends_while_a_stream_is_held(server: Server, attach: Attach) -> None:
    peer = attach()
    peer.post("host_func", struct.pack("<QQ", 0, 42))
    peer.wait_for(lambda kind, *_: kind == 3, 20)
    peer.close()
    eventually(lambda: session_free(server))


def test_a_context_frees_its_memory_when_it_goes(attach: Attach) -> None:
    peer = attach()
    peer.post("ctx_create", struct.pack("<QII", 64, 0, 0), ctx=0)
    before = peer.info(1)
    status, _ = peer.alloc(MIB, 64)
    assert status == 0 and peer.info(1) == (before[0] - MIB, before[1])
    peer.post("ctx_destroy", struct.pack("<Q", 64), ctx=0)
    assert peer.info(1) == before
    assert peer.alloc(MIB, 64)[0] == INVALID_CONTEXT


def test_a_reset_frees_everything(attach: Attach) -> None:
    peer = attach()
    for _ in range(100):
        assert peer.alloc(100_000)[0] == 0
    peer.post("stream_create", struct.pack("<QIi", 3, 1, 0))
    assert peer.call("ctx_reset")[0] == 0
    free, total = peer.info()
    assert free == total
    assert peer.call("stream_sync", struct.pack("<Q", 19))[0] == INVALID_HANDLE


SIZES = {  # of the request structs
    name: int(size)
    for name, size in re.findall(
        r"RM_Q_SIZE_(\w+) (\d+)", (TABLE.parents[1] / "generated" / "records.h").read_text()
    )
}


@pytest.mark.parametrize("seed", range(4))
def test_noise_kills_no_worker(
    server: Server, attach: Attach, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """Every operation with random contents: errors, or the end of the session."""
    noise = random.Random(seed)
    peer = attach()
    bulk = {"copy_in", "image_data", "copy_in_pull"}  # would wait for the payload that they announce
    for _ in range(200):
        name = noise.choice([name for name in OP if name in SIZES and name not in bulk])
        words = [
            noise.choice([0, 1, 2, 17, 64, 4096, 2**32 - 1, 2**63, noise.getrandbits(64)]) for _ in range(16)
        ]
        payload = struct.pack("<16Q", *words)[: SIZES[name]] + noise.randbytes(
            noise.choice([0] * 12 + [8, 200])
        )
        try:
            peer.post(name, payload, ctx=noise.choice([0, 1, 1, 1, 2, 64, 9]), flags=noise.choice([0, WAITS]))
            if noise.random() < 0.05:
                peer.call("mem_info", ctx=2)
        except (ChannelError, ConnectionError):
            assert "operation" in peer.ended()
            peer = attach()
    peer.close()
    eventually(lambda: session_free(server))
    assert "worker died" not in caplog.text


def test_devices_of_a_session_use_each_others_memory_once_granted(server: Server, attach: Attach) -> None:
    with client.request_lease(server.address, gpus=2, mem_mib=64) as lease:
        peer = attach(lease.ticket)
        status, can = peer.call("peer_attribute", struct.pack("<IIi4x", 0, 1, 0), 0)
        assert status == 0 and struct.unpack_from("<i", can)[0] == 1
        assert peer.alloc(5 * MIB, 2)[0] == 0  # there before; more comes after
        assert peer.call("peer_enable", struct.pack("<Q", 2))[0] == 0
        assert peer.call("peer_enable", struct.pack("<Q", 2))[0] == 0
        assert peer.call("peer_grant", struct.pack("<II", 0, 1), 0)[0] == 0
        status, at = peer.alloc(5 * MIB, 2)
        assert status == 0 and peer.free(at) == 0


def test_peers_that_do_not_exist_are_refused(server: Server, attach: Attach) -> None:
    with client.request_lease(server.address, gpus=2, mem_mib=64) as lease:
        peer = attach(lease.ticket)
        for owner, user in ((0, 2), (7, 0), (0xFFFFFFFF, 1), (0, 0x80000000)):
            assert peer.call("peer_grant", struct.pack("<II", owner, user), 0)[0] == INVALID_DEVICE
            assert peer.call("peer_attribute", struct.pack("<IIi4x", owner, user, 0), 0)[0] == INVALID_DEVICE
        assert peer.call("peer_grant", struct.pack("<II", 1, 1), 0)[0] == PEER_ACCESS_UNSUPPORTED
        assert peer.call("peer_attribute", struct.pack("<IIi4x", 0, 1, 77), 0)[0] in (0, INVALID_VALUE)
        for context in (0, 3, 64, 1 << 40):
            assert peer.call("peer_enable", struct.pack("<Q", context))[0] == INVALID_CONTEXT
        assert peer.alloc(1000)[0] == 0
