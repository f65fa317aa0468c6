"""remora.transport as its users have it: messages, buffers, transfers, deadlines, and how it all ends."""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import remora.transport as rt
from remora.transport import greeting
from remora.transport.examples.unix import UnixStream, UnixTransport
from tests.transport import links
from tests.transport.links import in_thread, wait_until

pytestmark = pytest.mark.timeout(60)

Pair = tuple[rt.Endpoint, rt.Endpoint]
MIB = 1 << 20


def join(transport: Any = "tcp", **options: Any) -> Pair:
    with rt.listen(
        "" if isinstance(transport, rt.Transport) else "127.0.0.1:0", transport=transport
    ) as listener:
        near = rt.connect(listener.address, transport=transport, options=rt.Options(**options))
        return near, listener.accept(10)


@pytest.fixture(params=["tcp", "shm", "own"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    near, far = join(UnixTransport() if request.param == "own" else request.param)
    yield near, far
    near.close()
    far.close()


# ---- messages


def test_messages_of_all_sizes_arrive_in_order(pair: Pair) -> None:
    near, far = pair
    sizes = [0, 1, 7, 32 << 10, (32 << 10) + 1, MIB, MIB + 1, 0, 8 * MIB, 3]
    sent = [os.urandom(size) for size in sizes]
    sender = in_thread(near.send_many, sent)
    assert [far.receive(10) for _ in sent] == sent
    sender.join(10)


def test_many_small_messages_go_together(pair: Pair) -> None:
    near, far = pair
    sent = [str(i).encode() for i in range(5000)]
    before = near.stats["sends"]
    near.send_many(sent)
    received: list[bytes] = []
    while len(received) < len(sent):
        received += far.receive_many(timeout=10)
    assert received == sent
    assert near.stats["sends"] - before < 100


def test_anything_with_a_buffer_is_a_message(pair: Pair) -> None:
    near, far = pair
    array = np.arange(1000, dtype=np.int16)
    near.send_many([array, bytearray(b"abc"), memoryview(b"defg")[1:]])
    assert [far.receive(10) for _ in range(3)] == [array.tobytes(), b"abc", b"efg"]
    with pytest.raises(TypeError):
        near.send("text")  # type: ignore[arg-type]
    with pytest.raises((BufferError, ValueError)):
        near.send(array[::2])


def test_a_message_that_the_peer_does_not_take_is_refused_and_nothing_sent() -> None:
    near, far = join()
    limit = near.max_message
    with pytest.raises(rt.MessageTooLarge, match=f"takes up to {limit}"):
        near.send_many([b"small", bytes(limit + 1)])
    near.send(b"next")
    assert far.receive(10) == b"next"


def test_a_full_queue_holds_the_sender_and_opens_again() -> None:
    with rt.listen("127.0.0.1:0", options=rt.Options(max_message=1000, queue=10_000)) as listener:
        near, far = rt.connect(listener.address), listener.accept(10)
    with pytest.raises(rt.DeadlineExceeded) as caught:
        near.send_many([bytes(936)] * 20, timeout=0.2)
    assert caught.value.sent == 10
    blocked = in_thread(near.send, b"last")
    blocked.join(0.2)
    assert blocked.is_alive()
    assert [len(far.receive(10)) for _ in range(10)] == [936] * 10
    assert far.receive(10) == b"last"
    blocked.join(10)
    assert not blocked.is_alive()


def test_the_largest_messages_always_get_through() -> None:
    """Never does the rest of a window that was not reported free stop a message for good."""
    with rt.listen("127.0.0.1:0", options=rt.Options(max_message=5000, queue=10_128)) as listener:
        near, far = rt.connect(listener.address), listener.accept(10)
    for size in [1, 5000, 5000, 700, 5000, 4999, 2000, 5000] * 20:
        near.send(bytes(size), timeout=5)
        assert len(far.receive(5)) == size


def test_iteration_ends_with_the_connection(pair: Pair) -> None:
    near, far = pair
    near.send_many([b"a", b"b"])
    near.close()
    assert list(far) == [b"a", b"b"]


# ---- buffers


def test_writes_and_reads_of_all_sizes(pair: Pair) -> None:
    near, far = pair
    buffer = far.allocate(5 * MIB)
    remote = rt.RemoteBuffer.from_bytes(bytes(buffer.handle))
    mirror = bytearray(5 * MIB)
    for offset, size in [(0, 1), (3, 0), (5 * MIB, 0), (9, 32 << 10), (77, 33 << 10), (1, MIB), (0, 5 * MIB)]:
        data = os.urandom(size)
        near.write(remote, data, offset, timeout=10)
        mirror[offset : offset + size] = data
        back = bytearray(size)
        near.read(remote, back, offset, timeout=10)
        assert back == data
    assert memoryview(buffer) == mirror


def test_numpy_arrays_are_written_and_read_in_place(pair: Pair) -> None:
    near, far = pair
    theirs = np.zeros((500, 400), np.float32)
    buffer = far.register(theirs)
    data = np.random.default_rng(1).random((500, 400), dtype=np.float32)
    near.write(buffer.handle, data, timeout=10)
    np.testing.assert_array_equal(theirs, data)
    theirs *= 2
    back = np.empty_like(data)
    near.read(buffer.handle, back[100:], offset=theirs[:100].nbytes, timeout=10)
    np.testing.assert_array_equal(back[100:], 2 * data[100:])
    view = np.frombuffer(far.allocate(800), np.float64)
    assert view.flags.writeable and view.size == 100


def test_a_view_is_the_buffer_itself() -> None:
    near, far = join()
    buffer = far.allocate(80)
    view = np.frombuffer(buffer, np.int64)
    near.write(buffer.handle, np.arange(10), timeout=10)
    np.testing.assert_array_equal(view, np.arange(10))
    array = np.zeros(10)
    registered = far.register(array)
    address = np.frombuffer(registered, np.float64).__array_interface__["data"][0]
    assert address == array.__array_interface__["data"][0]


def test_readonly_memory_may_be_registered_for_reading_only() -> None:
    near, far = join()
    buffer = far.register(b"constant", remote="read")
    back = bytearray(8)
    near.read(buffer.handle, back, timeout=10)
    assert back == b"constant"
    with pytest.raises(BufferError):
        far.register(b"constant", remote="write")
    with pytest.raises(BufferError):
        near.read(buffer.handle, b"constant")


DENIED: dict[str, Callable[[rt.RemoteBuffer], rt.RemoteBuffer]] = {
    "a key that was never given": lambda r: rt.RemoteBuffer(r.key ^ 1 << 40, r.nbytes),
    "a neighbour's key": lambda r: rt.RemoteBuffer(r.key + 1, r.nbytes),
    "more than there is": lambda r: rt.RemoteBuffer(r.key, r.nbytes + 100),
}


@pytest.mark.parametrize("size", [100, 3 * MIB])
@pytest.mark.parametrize("forge", DENIED.values(), ids=DENIED)
def test_the_owner_checks_what_the_peer_asks_for(
    pair: Pair, forge: Callable[[rt.RemoteBuffer], rt.RemoteBuffer], size: int
) -> None:
    near, far = pair
    buffer = far.allocate(3 * MIB)
    forged = forge(buffer.handle)
    offset = forged.nbytes - size
    with pytest.raises(rt.AccessDenied):
        near.write(forged, b"x" * size, offset, timeout=10)
    with pytest.raises(rt.AccessDenied):
        near.read(forged, bytearray(size), offset, timeout=10)
    assert not any(memoryview(buffer)[::4096])
    near.write(buffer.handle, b"fine", timeout=10)


def test_an_offset_that_wraps_around_is_no_way_in() -> None:
    near, far = join()
    buffer = far.allocate(100)
    forged = rt.RemoteBuffer(buffer.handle.key, 1 << 64)
    with pytest.raises(rt.AccessDenied):
        near.write(forged, b"12345678", (1 << 64) - 8, timeout=10)


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_only_the_allowed_direction(size: int) -> None:
    near, far = join()
    with pytest.raises(rt.AccessDenied):
        near.write(far.allocate(size, remote="read").handle, bytes(size), timeout=10)
    with pytest.raises(rt.AccessDenied):
        near.read(far.allocate(size, remote="write").handle, bytearray(size), timeout=10)
    with pytest.raises(rt.AccessDenied):
        near.read(far.allocate(size, remote="none").handle, bytearray(size), timeout=10)
    with pytest.raises(ValueError, match="remote is one of"):
        far.allocate(size, remote="everything")


def test_what_does_not_fit_is_refused_here() -> None:
    near, far = join()
    remote = far.allocate(10).handle
    for offset in (-1, 5):
        with pytest.raises(ValueError, match="do not lie in a buffer of 10 bytes"):
            near.write(remote, b"123456", offset)


def test_a_closed_buffer_is_gone_for_the_peer() -> None:
    near, far = join()
    buffer = far.allocate(10)
    buffer.close()
    assert buffer.closed
    with pytest.raises(rt.AccessDenied):
        near.write(buffer.handle, b"x", timeout=10)
    with pytest.raises(ValueError, match="closed"):
        memoryview(buffer)


def test_a_buffer_with_views_is_not_freed() -> None:
    _, far = join()
    buffer = far.allocate(800)
    view = np.frombuffer(buffer, np.float64)
    with pytest.raises(rt.BufferInUse):
        buffer.close()
    assert not buffer.closed
    view[:] = 1
    del view
    buffer.close()


class Gate:
    """Lets the bytes of its streams through while it is open, and `more` of them once it is not."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.more = 0


class GatedStream(UnixStream):
    gate: Gate

    def send(self, data: memoryview) -> int:
        if not self.gate.open.is_set() and self.gate.more <= 0:
            self.gate.open.wait()
        count = super().send(data)
        self.gate.more -= count
        return count


class GatedTransport(UnixTransport):
    """The connecting end sends through a gate."""

    def __init__(self) -> None:
        self.gate = Gate()

    def connect(self, address: str, timeout: float) -> rt.Stream:
        made = super().connect(address, timeout)
        assert isinstance(made, UnixStream)
        stream = GatedStream(made.socket, made.peer)
        stream.gate = self.gate
        return stream


def test_a_buffer_freed_in_flight_is_refused_on_both_ends() -> None:
    transport = GatedTransport()
    near, far = join(transport)
    remote, local = far.allocate(8 * MIB), near.allocate(8 * MIB)
    memoryview(local)[:] = b"y" * (8 * MIB)
    transport.gate.more = 3 * MIB
    transport.gate.open.clear()
    transfer = near.start_write(remote.handle, local)
    wait_until(lambda: any(memoryview(remote)[:MIB:4096]))
    assert not transfer.done
    for buffer in (local, remote):
        with pytest.raises(rt.BufferInUse):
            buffer.close()
    with pytest.raises(rt.DeadlineExceeded):
        transfer.wait(0.1)
    transport.gate.open.set()
    transfer.wait(10)
    assert transfer.done
    assert memoryview(remote) == memoryview(local)
    remote.close()
    local.close()
    near.close()
    far.close()


def test_a_finished_transfer_lets_go_of_its_memory_unasked() -> None:
    near, far = join()
    remote, local = far.allocate(100), near.allocate(100)
    transfer = near.start_write(remote.handle, local)
    wait_until(lambda: transfer.done)
    local.close()
    transfer.wait(1)


def test_closing_an_endpoint_in_the_middle_of_a_transfer_frees_its_buffers() -> None:
    transport = GatedTransport()
    near, far = join(transport)
    remote, local = far.allocate(8 * MIB), near.allocate(8 * MIB)
    transport.gate.more = 3 * MIB
    transport.gate.open.clear()
    transfer = near.start_write(remote.handle, local)
    near.close(timeout=0.1)
    with pytest.raises(rt.Disconnected):
        transfer.wait(5)
    local.close()
    transport.gate.open.set()
    far.close()
    remote.close()


def test_dropped_objects_leave_nothing_behind() -> None:
    def use() -> None:
        near, far = join()
        remote, array = far.allocate(4 * MIB), np.ones(4 * MIB, np.uint8)
        near.start_write(remote.handle, array)
        far.register(array)
        near.start_read(remote.handle, np.empty(4 * MIB, np.uint8))

    use()
    gc.collect()
    time.sleep(0.2)
    before = threading.active_count(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(10):
        use()
        gc.collect()
    wait_until(
        lambda: (
            (threading.active_count(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
            <= before
        )
    )


COLLECTED_IN_FLIGHT = """
import gc, numpy
import remora.transport as rt
for _ in range(5):
    with rt.listen("127.0.0.1:0") as listener:
        near = rt.connect(listener.address)
        far = listener.accept(10)
    remote = far.allocate(64 << 20)
    near.start_write(remote.handle, numpy.ones(64 << 20, numpy.uint8))
    far.register(numpy.ones(64 << 20, numpy.uint8))
    near.start_read(remote.handle, numpy.empty(64 << 20, numpy.uint8))
    del near, far, remote
    gc.collect()
"""


def test_the_collector_frees_no_memory_that_bytes_still_land_in() -> None:
    subprocess.run([sys.executable, "-c", COLLECTED_IN_FLIGHT], check=True, timeout=60)


# ---- threads


def test_many_threads_share_an_endpoint(pair: Pair) -> None:
    near, far = pair
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return run

    def sender(me: int) -> Callable[[], None]:
        return lambda: [near.send(b"%d %d" % (me, i) + bytes(i % 3 * 40_000)) for i in range(150)] and None

    def transfers(owner: rt.Endpoint, user: rt.Endpoint, seed: int) -> Callable[[], None]:
        def run() -> None:
            chance = random.Random(seed)
            buffer = owner.allocate(3 * MIB)
            for _ in range(30):
                size = chance.choice([10, 5000, 100_000, 2 * MIB])
                offset = chance.randrange(3 * MIB - size)
                data, back = chance.randbytes(size), bytearray(size)
                user.write(buffer.handle, data, offset, timeout=30)
                user.read(buffer.handle, back, offset, timeout=30)
                assert back == data
            buffer.close()

        return run

    works = [sender(i) for i in range(4)]
    works += [transfers(near, far, 1), transfers(far, near, 2), transfers(far, near, 3)]
    threads = [in_thread(guarded(work)) for work in works]
    seen: dict[bytes, int] = {}
    for _ in range(4 * 150):
        me, number = far.receive(30).split(b"\0")[0].split()
        assert int(number) == seen.get(me, -1) + 1, "each sender's messages come in its order"
        seen[me] = int(number)
    for thread in threads:
        thread.join(30)
    assert not failures


def test_other_threads_run_while_one_waits(pair: Pair) -> None:
    near, _ = pair

    def wait() -> None:
        with pytest.raises(rt.DeadlineExceeded):
            near.receive(1.0)

    waiter = in_thread(wait)
    end, turns = time.monotonic() + 0.5, 0
    while time.monotonic() < end:
        turns += 1
    assert turns > 10_000
    waiter.join(5)


def test_a_waiting_endpoint_sleeps(pair: Pair) -> None:
    near, _ = pair
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(rt.DeadlineExceeded):
        near.receive(timeout=2)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.05


# ---- deadlines, signals, the end


@pytest.mark.parametrize("seconds", [0, 0.05, 0.4])
def test_deadlines_are_kept(pair: Pair, seconds: float) -> None:
    near, _ = pair
    start = time.monotonic()
    with pytest.raises(rt.DeadlineExceeded, match=f"not within {seconds:g} s"):
        near.receive(timeout=seconds)
    assert seconds <= time.monotonic() - start < seconds + 0.3
    with pytest.raises(ValueError, match="timeout"):
        near.receive(timeout=-1)
    assert isinstance(rt.DeadlineExceeded(), TimeoutError)


def test_deadlines_are_kept_while_the_peer_takes_nothing() -> None:
    transport = GatedTransport()
    near, far = join(transport)
    remote = far.allocate(32 * MIB)
    transport.gate.open.clear()
    near.start_write(remote.handle, bytes(32 * MIB))
    time.sleep(0.2)
    works: list[Callable[[], object]] = [
        lambda: near.receive(0.3),
        lambda: near.send(b"x", 0.3),
        lambda: near.send(bytes(MIB), 0.3),
        lambda: near.write(remote.handle, b"x", timeout=0.3),
        lambda: near.read(remote.handle, bytearray(10), timeout=0.3),
    ]
    for work in works:
        start = time.monotonic()
        try:
            work()
        except rt.DeadlineExceeded:
            pass
        assert time.monotonic() - start < 1
    transport.gate.open.set()
    far.close()
    near.close()


INTERRUPTED = """
import sys, remora.transport as rt
with rt.listen("127.0.0.1:0") as listener:
    near, far = rt.connect(listener.address), listener.accept()
    print("waiting", flush=True)
    {wait}
"""


@pytest.mark.parametrize(
    "wait", ["near.receive()", "[near.send(bytes(1000000)) for _ in range(100)]", "listener.accept()"]
)
def test_ctrl_c_ends_a_wait(wait: str) -> None:
    code = INTERRUPTED.format(wait=wait)
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout and program.stdout.readline()
    time.sleep(0.5)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors


def test_an_interrupted_message_that_was_sent_counts_as_sent() -> None:
    """Else the peer would seem to have received more than was sent."""
    near, far = join()

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    interrupted = received = 0
    try:
        for _ in range(12):
            receiver = in_thread(lambda: (time.sleep(0.3), far.receive_many(timeout=10)))
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                for _ in range(5):
                    near.send(bytes(8 * MIB))
            except Stop:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            receiver.join(10)
    finally:
        signal.signal(signal.SIGALRM, before)
    with suppress(rt.DeadlineExceeded):
        while True:
            received += len(far.receive_many(timeout=0.5))
    near.send(b"and on it goes", timeout=10)
    assert far.receive(10) == b"and on it goes"
    assert interrupted and not near.closed
    near.close()
    far.close()


@pytest.mark.parametrize("transport", ["tcp", "shm"])
def test_a_forked_child_leaves_its_parents_connections_alone(transport: str) -> None:
    near, far = join(transport)
    buffer = near.allocate(100)

    def child() -> None:
        with pytest.raises(rt.Disconnected):
            near.send(b"from a child")
        near.close()
        buffer.close()

    for _ in range(3):
        pid = links.in_child(lambda: (child(), gc.collect()))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    near.send(b"still here", timeout=5)
    assert far.receive(5) == b"still here"
    near.close()
    far.close()


CLOSED_BY_A_HANDLER = """
import signal, remora.transport as rt
with rt.listen("127.0.0.1:0") as listener:
    near, far = rt.connect(listener.address), listener.accept()
    signal.signal(signal.SIGTERM, lambda *_: near.close())
    print("waiting", flush=True)
    try:
        near.receive()
    except rt.Disconnected as error:
        print(error)
"""


def test_a_signal_handler_may_close_the_endpoint_that_waits() -> None:
    program = subprocess.Popen([sys.executable, "-c", CLOSED_BY_A_HANDLER], stdout=subprocess.PIPE, text=True)
    assert program.stdout and program.stdout.readline()
    time.sleep(0.5)
    program.send_signal(signal.SIGTERM)
    out, _ = program.communicate(timeout=15)
    assert "closed" in out and program.returncode == 0


def test_closing_ends_every_wait_of_other_threads(pair: Pair) -> None:
    near, far = pair
    ends: list[str] = []

    def expect_end(work: Callable[[], object]) -> None:
        try:
            work()
        except rt.Disconnected as error:
            ends.append(str(error))

    works: list[Callable[[], object]] = [near.receive, near.receive_many]
    works.append(lambda: [near.send(bytes(MIB)) for _ in range(100)])
    threads = [in_thread(expect_end, work) for work in works]
    time.sleep(0.3)
    near.close(timeout=0.2)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert len(ends) == 3
    assert near.closed
    with pytest.raises(rt.Disconnected, match="closed on this side"):
        near.send(b"x")
    wait_until(lambda: far.closed)


PEER = """
import sys, time, remora.transport as rt
with rt.listen("127.0.0.1:0") as listener:
    print(listener.address, flush=True)
    far = listener.accept()
    far.send(bytes(far.allocate(64 << 20).handle))
    {then}
"""


@pytest.mark.parametrize(
    "then", ["time.sleep(60)", "list(far)", "[far.send(bytes(1000)) for _ in range(10**9)]"]
)
def test_every_wait_ends_when_the_peer_is_killed(then: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PEER.format(then=then)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout
    near = rt.connect(program.stdout.readline().strip())
    remote = rt.RemoteBuffer.from_bytes(near.receive(10))
    errors: list[BaseException] = []

    def expect_end(work: Callable[[], object]) -> None:
        try:
            while True:
                work()
        except rt.TransportError as error:
            errors.append(error)

    data = bytearray(32 * MIB)
    works: list[Callable[[], object]] = [
        near.receive,
        lambda: near.send(bytes(100_000)),
        lambda: near.write(remote, data),
        lambda: near.read(remote, bytearray(16 * MIB)),
    ]
    threads = [in_thread(expect_end, work) for work in works]
    time.sleep(0.3)
    program.kill()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert [type(error) for error in errors] == [rt.Disconnected] * 4
    program.wait()
    near.close()


# ---- strangers


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
    with pytest.raises(rt.Unreachable, match="cannot connect: Connection refused"):
        rt.connect(address)
    with pytest.raises(rt.Unreachable, match="not an address"):
        rt.connect("gpubox")


def test_a_silent_server_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        start = time.monotonic()
        with pytest.raises(rt.Unreachable, match="there is no answer"):
            rt.connect("{}:{}".format(*listener.getsockname()), timeout=0.3)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("name", ["carrier-pigeon", "no.such.module:Class"])
def test_an_unknown_transport(name: str) -> None:
    with pytest.raises(rt.Unsupported, match=name):
        rt.connect("127.0.0.1:1", transport=name)
    with pytest.raises(rt.Unsupported, match=name):
        rt.listen("127.0.0.1:0", transport=name)


GARBAGE = {
    "nothing": b"",
    "http": b"GET / HTTP/1.0\r\n\r\n",
    "huge": b"RMEP\xff\xff\xff\x7f",
    "no json": b"RMEP\x03\0\0\0{x}",
    "a list": b"RMEP\x02\0\0\0[]",
    "wrong types": greeting._HEAD.pack(b"RMEP", 18) + b'{"ring_bytes":"1"}',
    "no sizes": greeting.encode(greeting.Proposal(carriers={"tcp": b""})),
    "no carriers": greeting.encode(greeting.Proposal(1, 65536, 16, 30.0, 1000, 10_000)),
    "ring of 3 GiB": greeting.encode(greeting.Proposal(1, 3 << 30, 16, 30.0, 1000, 10_000, {"tcp": b""})),
    "window for nothing": greeting.encode(greeting.Proposal(1, 65536, 16, 30.0, 1000, 5, {"tcp": b""})),
    "from the future": greeting.encode(greeting.Proposal(99, 65536, 16, 30.0, 1000, 10_000, {"tcp": b""})),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_strangers_are_sent_away_and_friends_still_get_in(garbage: bytes) -> None:
    with rt.listen("127.0.0.1:0") as listener:
        host, port = listener.address.split(":")
        with (
            socket.create_connection((host, int(port))) as silent,
            socket.create_connection((host, int(port))) as stranger,
        ):
            stranger.sendall(garbage)
            stranger.settimeout(10)
            with suppress(OSError):
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
            near = rt.connect(listener.address)
            near.send(b"friend")
            assert listener.accept(10).receive(10) == b"friend"
            silent.close()


def liar(listener: rt.Listener) -> socket.socket:
    """A peer that greets as it should; what it sends next is up to the test."""
    host, port = listener.address.split(":")
    connected = socket.create_connection((host, int(port)))
    line = greeting.Line(connected, "liar", 10)
    line.send(greeting.Proposal(1, 65536, 16, 30.0, 1000, 10_000, {"tcp": b""}))
    assert line.receive(greeting.Choice).carrier == "tcp"
    line.send(greeting.Reply())
    assert line.receive(greeting.Verdict).carrier == "tcp"
    return connected


def number(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


def span(key: int, offset: int, n: int, token: int, in_record: int) -> bytes:
    return number(key, offset, n) + token.to_bytes(4, "little") + in_record.to_bytes(4, "little")


MESSAGE, LARGE, CONSUMED, WRITE, READ, DATA, DONE = range(64, 71)
LIES = {
    "unknown record": links.record(200),
    "short write": links.record(WRITE, bytes(10)),
    "write of another length": links.record(WRITE, span(1, 0, 5, 1, 1) + b"123"),
    "large write of nothing": links.record(WRITE, span(1, 0, 0, 1, 0)),
    "read without token": links.record(READ, span(1, 0, 5, 0, 1)),
    "done for nothing": links.record(DONE, bytes(8)),
    "data for nothing": links.record(DATA, bytes(20)),
    "consumed what was not sent": links.record(CONSUMED, number(100)),
    "consumed less than nothing": links.record(CONSUMED, number((1 << 64) - 8)),
    "large message of nothing": links.record(LARGE, number(0)),
    "large message beyond the limit": links.record(LARGE, number(1 << 40)),
    "two payloads at once": links.record(LARGE, number(100)) + links.record(LARGE, number(100), seq=2),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_peer_ends_its_own_connection_only(lie: bytes) -> None:
    with rt.listen("127.0.0.1:0") as listener, liar(listener) as peer:
        near = listener.accept(10)
        peer.sendall(links.frame(links.RECORDS, lie))
        wait_until(lambda: near.closed)
        with pytest.raises(rt.Disconnected):
            near.receive(5)
        near.close()


def test_bulk_that_nobody_announced_ends_the_connection() -> None:
    for tag in (0, 7):
        with rt.listen("127.0.0.1:0") as listener, liar(listener) as peer:
            near = listener.accept(10)
            peer.sendall(links.frame(links.BULK, b"x" * 100, tag=tag))
            with pytest.raises(rt.ProtocolError):
                near.receive(5)
            near.close()


def test_messages_beyond_the_window_end_the_connection() -> None:
    options = rt.Options(max_message=100, queue=1000)
    with rt.listen("127.0.0.1:0", options=options) as listener, liar(listener) as peer:
        near = listener.accept(10)
        for i in range(20):
            peer.sendall(links.frame(links.RECORDS, links.record(MESSAGE, bytes(100), seq=i + 1)))
        assert len([message for message in near if len(message) == 100]) <= 6
        near.close()


def test_fuzz() -> None:
    """Random records in valid frames: the endpoint ends or goes on; nothing outside a buffer changes."""
    chance = random.Random(7)
    guard = np.full(3 * 4096, 0xAA, np.uint8)
    with rt.listen("127.0.0.1:0", options=rt.Options(max_message=10_000)) as listener:
        for _ in range(300):
            with liar(listener) as peer:
                near = listener.accept(10)
                buffer = near.register(guard[4096:8192])
                transfer = near.start_read(rt.RemoteBuffer(5, 100), bytearray(100))
                stream = b""
                for seq in range(1, chance.randrange(2, 12)):
                    op = chance.randrange(63, 72)
                    key = chance.choice([buffer.handle.key, 0, chance.getrandbits(64)])
                    n = chance.choice([0, 5, 4096, 4097, 1 << 63, chance.randrange(5000)])
                    body = span(
                        key, chance.choice([0, 1, 4096, (1 << 64) - 1]), n, chance.randrange(3), seq % 2
                    )
                    body = chance.choice([body, body + bytes(min(n, 8000)), chance.randbytes(seq)])
                    stream += links.frame(links.RECORDS, links.record(op, body, seq=seq))
                    if chance.random() < 0.3:
                        bulk = chance.randbytes(chance.randrange(5000))
                        stream += links.frame(links.BULK, bulk, tag=chance.randrange(3))
                try:
                    peer.sendall(stream)
                except OSError:
                    pass  # the endpoint has ended it already
                peer.shutdown(socket.SHUT_WR) if chance.random() < 0.5 else None
                try:
                    near.receive_many(timeout=0.01)
                except rt.TransportError:
                    pass
                near.close(timeout=0)
                assert transfer.done or near.closed
                assert (guard[:4096] == 0xAA).all() and (guard[8192:] == 0xAA).all()
                buffer.close()
