"""Modules as the engine lists them, and streams whose context has failed."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

import pytest

from tests.engine.peer import PULL, REPLY, WAITS, Peer

Attach = Callable[..., Peer]
CALLBACK = 3
MODULE, LIBRARY = 0, 1
PINNED = 1 << 20

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
TRAP = HEAD + ".visible .entry broken()\n{\n  trap;\n  ret;\n}\n"


def kernels(count: int) -> str:
    """PTX of count kernels k0, k1, ... with as many parameters as their numbers say, at most 3."""
    text = HEAD
    for index in range(count):
        params = ", ".join(f".param .u64 k{index}_p{n}" for n in range(min(index, 3)))
        text += f".visible .entry k{index}({params})\n{{\n  ret;\n}}\n"
    return text


def load(peer: Peer, text: str, kind: int, number: int = 1) -> list[tuple[str, int, list[tuple[int, int]]]]:
    """Loads an image; the functions that the engine told: name, index, (offset, size) of the parameters."""
    image = text.encode() + b"\0"
    key = hashlib.blake2b(image, digest_size=32).digest()
    peer.post("image_data", key + struct.pack("<QQQ", len(image), 0, len(image)) + image)
    head = struct.pack("<QII", number, kind, 0)
    status, answer = peer.call("module_load", head + key + struct.pack("<Q", len(image)))
    assert status == 0 and struct.unpack_from("<I", answer)[0] == 1
    return entries(struct.unpack_from("<I", answer, 4)[0], answer[8:])


def listing(peer: Peer, number: int = 1) -> list[tuple[str, int, list[tuple[int, int]]]]:
    status, answer = peer.call("module_list", struct.pack("<Q", number))
    assert status == 0
    return entries(struct.unpack_from("<I", answer)[0], answer[8:])


def entries(count: int, rest: bytes) -> list[tuple[str, int, list[tuple[int, int]]]]:
    found = []
    for _ in range(count):
        size, name_bytes, params, index = struct.unpack_from("<4I", rest)
        assert size % 8 == 0 and struct.unpack_from("<i", rest, 16)[0] > 0  # threads in a block
        layout = [struct.unpack_from("<II", rest, 80 + 8 * n) for n in range(params)]
        at = 80 + 8 * params
        found.append((rest[at : at + name_bytes].decode(), index, layout))
        rest = rest[size:]
    assert not rest
    return found


@pytest.mark.parametrize("kind", [MODULE, LIBRARY])
def test_a_small_image_tells_its_functions(attach: Attach, kind: int) -> None:
    found = load(attach(), kernels(3), kind)
    assert sorted(name for name, _, _ in found) == ["k0", "k1", "k2"]
    assert sorted(index for _, index, _ in found) == [0, 1, 2]
    layouts = {name: layout for name, _, layout in found}
    assert layouts == {"k0": [], "k1": [(0, 8)], "k2": [(0, 8), (8, 8)]}


@pytest.mark.parametrize("kind", [MODULE, LIBRARY])
def test_a_large_image_tells_them_when_asked(attach: Attach, kind: int) -> None:
    peer = attach()
    assert load(peer, kernels(40), kind) == []
    found = listing(peer)
    assert sorted(name for name, _, _ in found) == sorted(f"k{index}" for index in range(40))
    name, index, _ = found[7]
    peer.post("function_bind", struct.pack("<QQII", 1, 5, index, 0))
    assert peer.call("cuFuncLoad", struct.pack("<Q", 5))[0] == 0, name


def test_what_was_asked_for_before_keeps_its_index(attach: Attach) -> None:
    peer = attach()
    load(peer, kernels(20), LIBRARY)
    status, answer = peer.call("function_get", struct.pack("<QQ", 1, 1) + b"k2")
    assert status == 0 and struct.unpack_from("<II", answer) == (0, 2)
    assert len(listing(peer)) == 20
    peer.post("function_bind", struct.pack("<QQII", 1, 2, 0, 0))
    assert peer.call("cuFuncLoad", struct.pack("<Q", 2))[0] == 0


def test_listing_no_module(attach: Attach) -> None:
    assert attach().call("module_list", struct.pack("<Q", 3))[0] == 400


def launch(peer: Peer, function: int, stream: int) -> None:
    peer.post("launch", struct.pack("<QQ10I", function, stream, *[1] * 6, 0, 0, 0, 0))


def asked(peer: Peer, op: int) -> bytes:
    return peer.wait_for(lambda kind, *_: kind == op, 20)


def test_a_failed_stream_leaves_nobody_waiting(attach: Attach) -> None:
    """A host function, a pull and a copy out stand behind a fault: CUDA calls no host functions any more."""
    peer = attach()
    _, at = peer.alloc(PINNED)
    _, index, _ = load(peer, TRAP, MODULE)[0]
    peer.post("function_bind", struct.pack("<QQII", 1, 1, index, 0))
    peer.post("stream_create", struct.pack("<QIi", 1, 1, 0))
    peer.post("host_func", struct.pack("<QQ", 17, 100))  # holds the stream until all is queued
    asked(peer, CALLBACK)
    launch(peer, 1, 17)
    peer.post("host_func", struct.pack("<QQ", 17, 101))
    peer.post("copy_in_pull", struct.pack("<6Q", 17, at, 64, 64, 1, 102))
    peer.post("copy_out", struct.pack("<7Q", 17, at, PINNED, PINNED, 1, 103, 0))
    waits = peer.post("stream_sync", struct.pack("<Q", 17), flags=WAITS)
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 100))
    token, status = struct.unpack_from("<Qi", asked(peer, CALLBACK))
    assert token == 101 and status
    assert struct.unpack_from("<QQI", asked(peer, PULL)) == (102, 0, 64)
    assert peer.done(103)
    reply = peer.wait_for(lambda kind, number, _: kind == REPLY and number == waits, 20)
    assert struct.unpack_from("<i", reply)[0] == status


def test_what_cannot_be_put_on_a_stream_is_answered(attach: Attach) -> None:
    peer = attach()
    peer.post("host_func", struct.pack("<QQ", 99, 100))
    token, status = struct.unpack_from("<Qi", asked(peer, CALLBACK))
    assert (token, status) == (100, 400)
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 100))
    peer.post("copy_in_pull", struct.pack("<6Q", 99, 0, 64, 64, 1, 101))
    _, _, size, tag = struct.unpack_from("<QQII", asked(peer, PULL))
    peer.channel.bulk(tag, bytes(size))
    assert peer.call("ctx_sync")[0] == 400  # the posted calls' error
    assert peer.call("ctx_sync")[0] == 0


def test_a_large_copy_out_in_stream_order(attach: Attach) -> None:
    """What the stream does behind it must not be seen in it."""
    peer, size = attach(), 12 << 20
    _, at = peer.alloc(size)
    fill = struct.Struct("<QBxxxxxxxQQ")
    peer.post("cuMemsetD8Async", fill.pack(at, 7, size, 0))
    peer.post("copy_out", struct.pack("<7Q", 0, at, size, size, 1, 200, 0))
    peer.post("cuMemsetD8Async", fill.pack(at, 8, size, 0))
    assert peer.done(200) == 0
    assert b"".join(data for tag, data in peer.channel.bulk_messages() if tag == 200) == b"\7" * size


def test_an_event_destroyed_while_it_is_waited_for(attach: Attach) -> None:
    peer = attach()
    peer.post("stream_create", struct.pack("<QIi", 1, 1, 0))
    peer.post("event_create", struct.pack("<QQ", 1, 2))
    peer.post("host_func", struct.pack("<QQ", 17, 100))
    asked(peer, CALLBACK)
    peer.post("event_record", struct.pack("<QQQ", 1, 17, 0))
    peer.post("mark", struct.pack("<QQQ", 0, 1, 300))
    peer.post("event_destroy", struct.pack("<Q", 1))
    assert peer.call("stream_sync", struct.pack("<Q", 0))[0] == 0
    peer.channel.urgent(struct.pack("<IIQ", 1, 0, 100))
    assert peer.done(300) == 0


def tensor_map(address: int, rank: int) -> bytes:
    shape = struct.pack("<5Q4Q5I5I", *[64] * 5, *[256] * 4, *[16] * 5, *[1] * 5)
    return struct.pack("<IIQ", 7, rank, address) + shape + bytes(16)


@pytest.mark.parametrize("rank", [0, 6, 2**32 - 1])
def test_a_tensor_map_of_no_shape(attach: Attach, rank: int) -> None:
    peer = attach()
    assert peer.call("tensor_map_tiled", tensor_map(peer.alloc(PINNED)[1], rank))[0] == 1


def test_a_tensor_map_is_the_drivers_business(attach: Attach) -> None:
    """The software GPU has no such copy engine and says so."""
    peer = attach()
    assert peer.call("tensor_map_tiled", tensor_map(0x1234, 2))[0] == 1
    assert peer.call("tensor_map_tiled", tensor_map(peer.alloc(PINNED)[1], 2))[0] == 801
