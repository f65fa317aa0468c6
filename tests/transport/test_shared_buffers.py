"""Buffers that both ends of a shm connection reach: what is copied once, and what becomes of the memory."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator

import numpy as np
import pytest

import remora.transport as rt
from tests.transport import links
from tests.transport.links import in_thread
from tests.transport.test_endpoint import MIB, Pair, join

pytestmark = pytest.mark.timeout(60)
SIZE = 6 * MIB


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = join("shm")
    yield near, far
    near.close()
    far.close()


def streamed(near: rt.Endpoint, far: rt.Endpoint) -> int:
    """Bytes that went through the streams so far, both ways."""
    return int(near.stats["bytes_sent"] + far.stats["bytes_sent"])


def moved(near: rt.Endpoint, far: rt.Endpoint, remote: rt.RemoteBuffer, local: rt.Bytes) -> int:
    """Bytes of the streams that a write and a read take."""
    before = streamed(near, far)
    near.write(remote, local, timeout=10)
    near.read(remote, local, timeout=10)
    return streamed(near, far) - before


def test_bytes_to_and_from_allocated_memory_pass_no_stream(pair: Pair) -> None:
    near, far = pair
    private = far.register(np.zeros(SIZE, np.uint8))
    assert moved(near, far, private.handle, bytearray(SIZE)) > 2 * SIZE
    with near.allocate(SIZE) as mine:
        assert moved(near, far, private.handle, mine) < SIZE // 100
    with far.allocate(SIZE) as theirs:
        assert moved(near, far, theirs.handle, bytearray(SIZE)) < SIZE // 100


def test_a_message_from_allocated_memory_passes_no_stream(pair: Pair) -> None:
    near, far = pair
    array = np.frombuffer(near.allocate(SIZE), np.uint8)
    array[:] = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
    before = streamed(near, far)
    sender = in_thread(near.send, array)
    assert far.receive(10) == array.tobytes()
    sender.join(10)
    assert streamed(near, far) - before < SIZE // 100


@pytest.mark.parametrize("remote", ["none", "read", "write"])
def test_memory_that_the_peer_may_not_both_read_and_write_is_not_shared(
    pair: Pair, remote: rt.Remote
) -> None:
    near, far = pair
    limited = far.allocate(SIZE, remote=remote)
    before = streamed(near, far)
    if remote == "read":
        near.read(limited.handle, bytearray(SIZE), timeout=10)
    elif remote == "write":
        near.write(limited.handle, bytes(SIZE), timeout=10)
    else:
        sender = in_thread(far.send, limited)
        near.receive(10)
        sender.join(10)
    assert streamed(near, far) - before >= SIZE


def test_places_are_used_again_and_hold_zeros(pair: Pair) -> None:
    near, far = pair
    sizes = [100, SIZE, 5000, SIZE // 2, 3 * MIB]
    held: dict[int, rt.Buffer] = {}
    for round_ in range(40):
        number = round_ % 7
        if number in held:
            assert set(memoryview(held[number])) == {number + 1}
            held.pop(number).close()
        buffer = far.allocate(sizes[round_ % len(sizes)])
        assert not any(memoryview(buffer)), "someone else's bytes"
        near.write(buffer.handle, bytes([number + 1]) * buffer.nbytes, timeout=10)
        held[number] = buffer
    for number, buffer in held.items():
        assert set(memoryview(buffer)) == {number + 1}


def resident(name: str) -> int:
    """Bytes of memory of a memfd that this process has mapped, on all sides."""
    with open("/proc/self/smaps") as maps:
        lines = maps.read().splitlines()
    found, total = False, 0
    for line in lines:
        if "-" in line.split()[0]:
            found = name in line
        elif found and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total


def test_memory_of_a_closed_buffer_is_free_also_while_the_peer_maps_it(pair: Pair) -> None:
    near, far = pair
    buffer = far.allocate(SIZE)
    near.write(buffer.handle, bytes(SIZE), timeout=10)
    assert resident("remora-buffers") >= SIZE
    buffer.close()
    assert resident("remora-buffers") < MIB


def test_a_buffer_outlives_its_connection(pair: Pair) -> None:
    near, far = pair
    buffer = far.allocate(SIZE)
    near.write(buffer.handle, b"x" * SIZE, timeout=10)
    near.close()
    far.close()
    assert bytes(buffer) == b"x" * SIZE
    buffer.close()


def test_more_than_there_can_be_is_a_memory_error(pair: Pair) -> None:
    near, far = pair
    with pytest.raises(MemoryError):
        far.allocate(1 << 60)
    near.write(far.allocate(SIZE).handle, bytes(SIZE), timeout=10)


def test_a_forked_child_leaves_its_parents_memory_alone(pair: Pair) -> None:
    near, far = pair
    buffer = far.allocate(SIZE)

    def child() -> None:
        far.close()
        buffer.close()

    pid = links.in_child(child)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    near.write(buffer.handle, b"x" * SIZE, timeout=10)
    assert bytes(buffer) == b"x" * SIZE


@pytest.mark.parametrize("transport", ["tcp", "shm"])
@pytest.mark.parametrize("allocated", [False, True])
def test_no_one_sleeps_through_the_end_of_a_large_send(transport: str, allocated: bool) -> None:
    """On one processor the courier is done after the sender went to sleep; the peer says nothing then."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        near, far = join(transport)
        data = near.allocate(300 << 10) if allocated else bytes(300 << 10)
        remote = far.allocate(300 << 10).handle
        receiver = in_thread(list, far)
        times = []
        for i in range(16):
            start = time.monotonic()
            near.send(data, timeout=10) if i % 2 else near.write(remote, data, timeout=10)
            times.append(time.monotonic() - start)
        near.close()
        receiver.join(10)
    finally:
        os.sched_setaffinity(0, before)
    assert statistics.median(times[0::2]) < 0.1 and statistics.median(times[1::2]) < 0.1, times
