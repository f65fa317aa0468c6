"""What Remora relies on, asked of the devices with plain verbs: a failure here is the guest's own."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyverbs.pyverbs_error import PyverbsRDMAError

from tests.rdma.inside.conftest import Pair
from tests.rdma.verbs import REMOTE, Failed, V, immediate

SIGNALED, INLINE, SOLICITED = V.IBV_SEND_SIGNALED, V.IBV_SEND_INLINE, V.IBV_SEND_SOLICITED


def test_a_message_is_received_where_a_receive_was_posted(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(4096), b.register(4096)
    source.write(b"hello", 5)
    b.receive(target, 64, 1024)
    a.post(V.IBV_WR_SEND, source, 5)
    a.wait()
    assert b.wait()[0].byte_len == 5
    assert target.read(5, 1024) == b"hello"


def test_a_write_with_immediate_data_lands_and_tells(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(1 << 16), b.register(1 << 16)
    source.write(bytes(range(256)) * 128, 1 << 15)
    b.receive(target)
    a.post(V.IBV_WR_RDMA_WRITE_WITH_IMM, source, 1 << 15, to=(target.buf + 4096, target.rkey), imm=0xCAFE01)
    a.wait()
    completion = b.wait()[0]
    assert (immediate(completion), completion.byte_len) == (0xCAFE01, 1 << 15)
    assert completion.opcode == V.IBV_WC_RECV_RDMA_WITH_IMM
    assert target.read(1 << 15, 4096) == bytes(range(256)) * 128


def test_a_read_fetches_without_the_owner_doing_anything(pair: Pair) -> None:
    a, b = pair()
    mine, theirs = a.register(1 << 20), b.register(1 << 20)
    theirs.write(b"x" * 1_000_000, 1_000_000)
    a.post(V.IBV_WR_RDMA_READ, mine, 1_000_000, to=(theirs.buf, theirs.rkey))
    a.wait()
    assert mine.read(1_000_000, 0) == b"x" * 1_000_000


def test_unsignalled_requests_complete_with_the_next_signalled_one(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(4096), b.register(4096)
    for place in range(31):
        source.write(bytes([place]), 1, place)
        a.post(V.IBV_WR_RDMA_WRITE, source, 1, place, to=(target.buf + place, target.rkey), flags=0)
    a.post(V.IBV_WR_RDMA_WRITE, source, 1, to=(target.buf + 31, target.rkey))
    a.wait()
    assert target.read(31, 0) == bytes(range(31))
    assert a.cq.poll(1)[0] == 0


def test_inline_data_is_taken_when_it_is_posted(pair: Pair) -> None:
    a, b = pair(inline=256)
    source, target = a.register(4096), b.register(4096)
    source.write(b"i" * 200, 200)
    a.post(V.IBV_WR_RDMA_WRITE, source, 200, to=(target.buf, target.rkey), flags=SIGNALED | INLINE)
    source.write(b"j" * 200, 200)
    a.wait()
    assert target.read(200, 0) == b"i" * 200


def test_only_solicited_completions_wake_a_sleeper(pair: Pair) -> None:
    before = event_descriptors()
    a, b = pair(events=True)
    mine = event_descriptors() - before

    def woken(seconds: float) -> bool:
        return bool(select.select(mine, [], [], seconds)[0])

    assert b.channel
    source, target = a.register(4096), b.register(4096)
    for _ in range(3):
        b.receive(target)
    b.cq.req_notify(True)
    place = (target.buf, target.rkey)
    a.post(V.IBV_WR_RDMA_WRITE_WITH_IMM, source, 8, to=place)
    a.wait()
    assert not woken(0.1)
    a.post(V.IBV_WR_RDMA_WRITE_WITH_IMM, source, 8, to=place, flags=SIGNALED | SOLICITED)
    assert woken(5)
    b.channel.get_cq_event(b.cq)
    b.cq.ack_events(1)
    b.wait(2)


def event_descriptors() -> set[int]:
    """Where events of all kinds come: old versions of pyverbs don't tell a channel's descriptor."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        if path.is_symlink() and "infinibandevent" in os.readlink(path):
            found.add(int(path.name))
    return found


def test_a_message_waits_for_a_receive_that_is_posted_late(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(4096), b.register(4096)
    a.post(V.IBV_WR_SEND, source, 8)
    time.sleep(0.05)
    b.receive(target, 64)
    a.wait()
    b.wait()


def test_a_wrong_key_is_refused_and_ends_the_connection(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(4096), b.register(4096)
    a.post(V.IBV_WR_RDMA_WRITE, source, 8, to=(target.buf, target.rkey ^ 0xFFFF00))
    with pytest.raises(Failed) as failure:
        a.wait()
    assert failure.value.status == V.IBV_WC_REM_ACCESS_ERR
    assert a.state() == V.IBV_QPS_ERR


def test_a_write_past_the_end_is_refused(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(8192), b.register(4096)
    a.post(V.IBV_WR_RDMA_WRITE, source, 8192, to=(target.buf, target.rkey))
    with pytest.raises(Failed) as failure:
        a.wait()
    assert failure.value.status == V.IBV_WC_REM_ACCESS_ERR


def test_a_peer_that_is_gone_is_noticed(pair: Pair) -> None:
    a, b = pair()
    source, target = a.register(4096), b.register(4096)
    place = (target.buf, target.rkey)
    b.qp.close()
    a.post(V.IBV_WR_RDMA_WRITE, source, 8, to=place)
    with pytest.raises(Failed) as failure:
        a.wait()
    assert failure.value.status == V.IBV_WC_RETRY_EXC_ERR


@pytest.fixture(params=["anonymous", "shared", "file in /dev/shm"])
def memory(request: pytest.FixtureRequest) -> Iterator[mmap.mmap]:
    """1 MiB of the caller's own memory."""
    if request.param == "file in /dev/shm":
        with open("/dev/shm/registered", "w+b") as file:
            file.truncate(1 << 20)
            yield mmap.mmap(file.fileno(), 1 << 20)
    else:
        kind = mmap.MAP_SHARED if request.param == "shared" else mmap.MAP_PRIVATE
        yield mmap.mmap(-1, 1 << 20, kind | mmap.MAP_ANONYMOUS)


def test_every_kind_of_memory_can_be_registered(pair: Pair, memory: mmap.mmap) -> None:
    a, b = pair()
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    source, target = a.register(4096), b.register(1 << 20, address=address)
    source.write(b"placed", 6)
    a.post(V.IBV_WR_RDMA_WRITE, source, 6, to=(target.buf + 70_000, target.rkey))
    a.wait()
    assert memory[70_000:70_006] == b"placed"
    target.close()


def test_memory_that_can_only_be_read_is_registered_for_sending(pair: Pair) -> None:
    a, b = pair()
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    size = ctypes.c_size_t(4096)
    address = libc.mmap(
        None, size, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, ctypes.c_size_t()
    )
    with pytest.raises(PyverbsRDMAError):
        a.register(4096, REMOTE, address)
    source, target = a.register(4096, 0, address), b.register(4096)
    target.write(b"x" * 8, 8)
    a.post(V.IBV_WR_RDMA_WRITE, source, 8, to=(target.buf, target.rkey))
    a.wait()
    assert target.read(8, 0) == bytes(8)
    source.close()


def test_what_the_device_has_not_is_refused(pair: Pair) -> None:
    from pyverbs.mr import MR, DmaBufMR

    end, _ = pair()
    with pytest.raises(PyverbsRDMAError) as refusal:
        MR(end.pd, 4096, V.IBV_ACCESS_LOCAL_WRITE | V.IBV_ACCESS_ON_DEMAND)
    assert refusal.value.error_code == errno.EOPNOTSUPP
    with pytest.raises(PyverbsRDMAError) as refusal:
        DmaBufMR(end.pd, 4096, V.IBV_ACCESS_LOCAL_WRITE, -1)
    assert refusal.value.error_code == errno.EOPNOTSUPP


def test_two_cards_talk_over_a_wire_that_delays_and_loses(pair: Pair) -> None:
    subprocess.run("tc qdisc add dev wire1 root netem delay 1ms loss 2%", shell=True, check=True)
    try:
        a, b = pair("rxe1", "rxe2")
        source, target = a.register(1 << 20), b.register(1 << 20)
        source.write(b"w" * (1 << 20), 1 << 20)
        started = time.monotonic()
        a.post(V.IBV_WR_RDMA_WRITE, source, 1 << 20, to=(target.buf, target.rkey))
        a.wait()
        assert time.monotonic() - started > 0.001
        assert target.read(1 << 20, 0) == b"w" * (1 << 20)
        lost = subprocess.run(
            "tc -s qdisc show dev wire1", shell=True, check=True, capture_output=True, text=True
        )
        assert "netem" in lost.stdout and sent_packets(lost.stdout) > 256, lost.stdout
    finally:
        subprocess.run("tc qdisc del dev wire1 root", shell=True, check=True)


def sent_packets(report: str) -> int:
    """From ` Sent 123 bytes 45 pkt (dropped 0, ...)`."""
    words = report.split()
    return int(words[words.index("pkt") - 1])
