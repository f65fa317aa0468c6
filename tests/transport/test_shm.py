"""Shared memory: what one side shares is copied once; nothing that the peer writes breaks the engine."""

from __future__ import annotations

import array
import mmap
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance import ends
from remora.transport.conformance.backend import CarrierBackend
from remora.transport.conformance.ends import CLIENT, ended, in_child, in_thread, wait_until
from remora.transport.conformance.frames import LANDED, PLACED, RECORDS, frame, record
from remora.transport.conformance.shm_peer import FRONT, PIPES, STREAM, ShmPeer

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
SHM = CarrierBackend("shm")
ASKS = 0xFFFFFFFF


class File:
    """Memory that can be shared: fd and buffer."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, size)
        self.buffer = memoryview(mmap.mmap(self.fd, size))


@pytest.fixture
def pair() -> Iterator[tuple[ch.Channel, ch.Channel]]:
    client, engine = ends.make_pair(SHM)
    yield client, engine
    client.close()
    engine.close()


def hostile(**options: int) -> tuple[ch.Channel, ShmPeer]:
    made = ends.make_raw_pair(SHM, **options)
    assert made is not None and isinstance(made[1], ShmPeer)
    return made[0], made[1]


# ---- memory that is shared


def test_bulk_to_shared_memory_is_copied_straight_there(pair: tuple[ch.Channel, ch.Channel]) -> None:
    client, engine = pair
    file = File(4 * MIB)
    engine.share(file.buffer, file.fd)
    for size in (16 << 10, 100_001, MIB):
        engine.land_in(file.buffer[MIB + 5 : MIB + 5 + size])
        data = os.urandom(size)
        client.bulk(0, data)
        wait_until(lambda: engine.stats["bulk_received"] == client.stats["bulk_sent"])
        assert file.buffer[MIB + 5 : MIB + 5 + size] == data
    assert client.stats["bytes_sent"] < 4096


def test_bulk_from_shared_memory_is_copied_straight_out(pair: tuple[ch.Channel, ch.Channel]) -> None:
    client, engine = pair
    file = File(4 * MIB)
    engine.share(file.buffer, file.fd)
    back = bytearray(MIB)
    client.land_in(back)
    for offset in (0, 12345, 3 * MIB):
        file.buffer[offset : offset + MIB] = os.urandom(MIB)
        engine.bulk(7, file.buffer[offset : offset + MIB])
        wait_until(lambda: client.stats["bulk_received"] == engine.stats["bulk_sent"])
        assert file.buffer[offset : offset + MIB] == back
    assert engine.stats["bytes_sent"] < 4096


def test_a_file_of_the_peers_is_mapped_where_its_huge_pages_fit(
    pair: tuple[ch.Channel, ch.Channel],
) -> None:
    client, engine = pair
    file = File(4 * MIB)
    engine.share(file.buffer, file.fd)
    client.land_in(bytearray(MIB))
    engine.bulk(7, file.buffer[:MIB])
    wait_until(lambda: client.stats["bulk_received"] == 1)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:test" in line]
    ranges = [[int(end, 16) for end in words[0].split("-")] for words in maps]
    windows = [start for start, end in ranges if end - start == 1 << 30]
    assert len(windows) == 1 and windows[0] % (2 * MIB) == 0


def test_memory_that_is_not_shared_goes_through_the_stream(pair: tuple[ch.Channel, ch.Channel]) -> None:
    client, engine = pair
    file = File(MIB)
    engine.share(file.buffer, file.fd)
    data = [os.urandom(MIB), os.urandom(MIB)]
    client.bulk(0, data[0])  # asks, and is told that there is no place
    engine.bulk(1, data[1])
    wait_until(lambda: engine.stats["bulk_received"] and client.stats["bulk_received"])
    assert engine.bulk_messages() == [(0, data[0])] and client.bulk_messages() == [(1, data[1])]
    engine.share(file.buffer, -1)
    file.buffer[:] = data[0]
    engine.bulk(2, file.buffer)
    wait_until(lambda: client.stats["bulk_received"] == 2)
    assert client.bulk_messages() == [(2, data[0])]


def test_regions_are_joined_and_cut(pair: tuple[ch.Channel, ch.Channel]) -> None:
    client, engine = pair
    file = File(8 * MIB)
    chance = random.Random(3)
    shared = [False] * 8
    back = bytearray(MIB)
    client.land_in(back)
    for _ in range(200):
        i = chance.randrange(8)
        shared[i] = not shared[i]
        part = file.buffer[i * MIB : (i + 1) * MIB]
        engine.share(part, file.fd if shared[i] else -1, i * MIB)
        i = chance.randrange(8)
        at = i * MIB + chance.randrange(MIB // 2)
        file.buffer[at : at + 20_000] = chance.randbytes(20_000)
        before = engine.stats["bytes_sent"]
        engine.bulk(1, file.buffer[at : at + 20_000])
        wait_until(lambda: client.stats["bulk_received"] == engine.stats["bulk_sent"])
        assert back[:20_000] == file.buffer[at : at + 20_000]
        assert (engine.stats["bytes_sent"] - before < 1000) == shared[i]


def test_a_file_that_the_peer_could_cut_short_is_not_shared(pair: tuple[ch.Channel, ch.Channel]) -> None:
    _, engine = pair
    fd = os.memfd_create("unsealable", os.MFD_CLOEXEC)
    os.ftruncate(fd, MIB)
    with pytest.raises(PermissionError):
        engine.share(mmap.mmap(fd, MIB), fd)
    file = File(MIB)
    engine.share(file.buffer, file.fd)
    with pytest.raises(PermissionError):
        os.ftruncate(file.fd, 0)


def test_both_ways_at_once_with_records_between(pair: tuple[ch.Channel, ch.Channel]) -> None:
    client, engine = pair
    file = File(2 * MIB)
    engine.share(file.buffer, file.fd)
    engine.land_in(file.buffer[:MIB])
    client.land_in(bytearray(MIB))
    block, count = os.urandom(MIB), 200
    threads = [
        in_thread(lambda: [client.bulk(0, block) for _ in range(count)]),
        in_thread(lambda: [engine.bulk(1, file.buffer[MIB:]) for _ in range(count)]),
        in_thread(client.post_many, 64, bytes(48), 20_000),
    ]
    assert engine.skip(20_000, 20_000) == 20_000
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    wait_until(lambda: engine.stats["bulk_received"] == count and client.stats["bulk_received"] == count)
    assert file.buffer[:MIB] == block


# ---- a peer that writes what it likes

PLACE = struct.Struct("<IIIIQ")
BAD = {
    "landed without a question": frame(LANDED),
    "landed bytes without a question": frame(LANDED, b"x" * 100),
    "placed nothing": frame(PLACED, PLACE.pack(1, 0, ASKS, 0, 0)),
    "placed too much": frame(PLACED, PLACE.pack(1, MIB + 1, ASKS, 0, 0)),
    "placed, cut short": frame(PLACED, PLACE.pack(1, 100, ASKS, 0, 0)[:20]),
    "a record while a place is asked for": frame(PLACED, PLACE.pack(1, 100, ASKS, 0, 0))
    + frame(RECORDS, record(64)),
    "landed with another size": frame(PLACED, PLACE.pack(1, 100, ASKS, 0, 0)) + frame(LANDED, b"x" * 99),
    "two questions": frame(PLACED, PLACE.pack(1, 100, ASKS, 0, 0)) * 2,
}


def next_place(peer: ShmPeer) -> tuple[int, int, int]:
    """turn, file and lent of the next PLACED frame; records before it are passed over."""
    while True:
        head = b"".join(peer.recv(1) for _ in range(16))
        kind, length = head[0], struct.unpack_from("<I", head, 4)[0]
        body = b"".join(peer.recv(1) for _ in range(length))
        if kind == PLACED:
            turn, _, file, lent, _ = PLACE.unpack(body)
            return turn, file, lent


def test_bytes_in_a_window_that_the_peer_has_mapped_are_lent() -> None:
    """The first message waits until its bytes are taken. Later ones don't, but bulk() does."""
    engine, peer = hostile()
    file = File(2 * MIB)
    engine.share(file.buffer, file.fd)

    def take(turn: int) -> None:
        peer.put(PIPES[1] + 196, "I", 0)
        peer.put(PIPES[1] + 192, "I", turn)
        peer.ring(2)
        peer.ring(3)

    first = in_thread(lambda: engine.post_with_bulk(1, b"", 7, [file.buffer[:MIB]]))
    assert next_place(peer) == (1, 0, 0)
    first.join(0.2)
    assert first.is_alive()
    take(1)
    first.join(10)
    engine.post_with_bulk(1, b"", 7, [file.buffer[i << 16 : (i + 1) << 16] for i in range(5)])
    last = in_thread(lambda: engine.bulk(7, file.buffer[MIB:]))
    assert [next_place(peer) for _ in range(6)] == [(turn, 0, 1) for turn in range(2, 8)]
    take(6)
    last.join(0.2)
    assert last.is_alive()
    take(7)
    last.join(10)
    assert not last.is_alive()
    peer.close()
    engine.close()


def test_bytes_that_are_lent_from_nowhere_end_the_channel() -> None:
    engine, peer = hostile()
    peer.sendall(frame(PLACED, PLACE.pack(1, 100, 5, 1, 0), tag=3) + frame(RECORDS, record(64)))
    code, why = ended(engine)
    assert code == ch.EPROTO and why.startswith("client broke the protocol: ")
    peer.close()
    engine.close()


@pytest.mark.parametrize("name", BAD)
def test_broken_placing_ends_the_channel(name: str) -> None:
    engine, peer = hostile()
    peer.sendall(BAD[name])
    code, why = ended(engine)
    assert code == ch.EPROTO and why.startswith("client broke the protocol: ")
    peer.close()
    engine.close()


def test_a_place_in_a_file_that_never_came_is_answered_with_a_no() -> None:
    engine, peer = hostile()
    for turn, (file, offset) in enumerate([(0, 0), (15, 1 << 62), (16, 0), (0xFFFFFFFE, 5)], 1):
        peer.sendall(frame(PLACED, PLACE.pack(turn, 100, file, 0, offset), tag=3))
        wait_until(lambda turn=turn: peer.get(PIPES[0] + 192, "I") == turn)
        assert peer.get(PIPES[0] + 196, "I") == ASKS
        peer.sendall(frame(LANDED, bytes([turn]) * 100))
    wait_until(lambda: engine.stats["bulk_received"] == 4)
    assert engine.bulk_messages() == [(3, bytes([turn]) * 100) for turn in range(1, 5)]
    peer.close()
    engine.close()


def test_files_that_could_harm_the_engine_are_not_mapped(tmp_path: Path) -> None:
    """Shorter files, and files of a file system, would make the engine's own memory fault or wait."""
    engine, peer = hostile()
    plain = os.open(tmp_path / "plain", os.O_RDWR | os.O_CREAT)
    unsealed = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    for fd in (plain, unsealed):
        os.ftruncate(fd, MIB)
    sender = socket.socket(fileno=os.dup(peer.files))
    open_before = len(os.listdir("/proc/self/fd"))
    for number, fds in enumerate([[plain], [unsealed], [unsealed, plain], [os.open("/dev/zero", os.O_RDWR)]]):
        socket.send_fds(sender, [struct.pack("<I", number)], fds)
    socket.send_fds(sender, [b""], [plain])
    for turn in range(1, 5):
        peer.sendall(frame(PLACED, PLACE.pack(turn, 100, turn - 1, 0, 0), tag=3))
        wait_until(lambda turn=turn: peer.get(PIPES[0] + 192, "I") == turn)
        assert peer.get(PIPES[0] + 196, "I") == ASKS
        peer.sendall(frame(LANDED, bytes(100)))
    wait_until(lambda: engine.stats["bulk_received"] == 4)
    assert len(os.listdir("/proc/self/fd")) == open_before + 1  # /dev/zero, opened above
    sender.close()
    peer.close()
    engine.close()


@pytest.mark.parametrize("head", [STREAM + 1, 1 << 63, (1 << 64) - 1])
def test_an_impossible_position_ends_the_channel(head: int) -> None:
    engine, peer = hostile()
    peer.publish(head)
    code, why = ended(engine)
    assert code == ch.EPROTO and "position" in why
    peer.close()
    engine.close()


def test_scribbling_everywhere_breaks_nothing_but_its_own_channel() -> None:
    chance = random.Random(11)
    for _ in range(60):
        engine, peer = hostile(ring_bytes=65536)
        echo = in_thread(engine.echo)
        for _ in range(200):
            at = (
                chance.randrange(FRONT) if chance.random() < 0.7 else chance.randrange(FRONT + 2 * STREAM - 8)
            )
            peer.put(at, "Q", chance.choice([0, 1, 8, 100, STREAM, chance.getrandbits(64)]))
            if chance.random() < 0.1:
                peer.ring(chance.randrange(4))
        peer.close()
        echo.join(10)
        assert not echo.is_alive()
        engine.close()


def test_records_are_read_once() -> None:
    """A record that changes after it was sent is handed out as it was when it arrived, or as a whole."""
    engine, peer = hostile(ring_bytes=65536)
    data = frame(RECORDS, record(64, bytes(40)))
    for _ in range(500):
        head = peer.get(PIPES[0], "Q")
        peer.sendall(data)
        for at in range(head, head + len(data), 8):
            peer.put(FRONT + at % STREAM // 8 * 8, "Q", 0xFFFFFFFFFFFFFFFF)
        try:
            assert len(engine.next(5000)[5]) == 40 or engine.error
        except ch.ChannelError:
            break
    peer.close()
    engine.close()


# ---- finding each other


def prepared(offer: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        ch.Carrying("shm", far.fileno()).prepare(offer)


def test_what_is_no_offer_is_refused_with_a_reason() -> None:
    near, far = socket.socketpair()
    client = ch.Carrying("shm", near.fileno())
    good = client.offer()
    prepared(good)
    for offer, why in {
        b"": "malformed",
        good[:-1]: "malformed",
        b"\7" + good[1:]: "version",
        good[:8] + b"0" * 36 + good[44:]: "another host",
        good[:-8] + b"nobody00": "network namespace",
    }.items():
        with pytest.raises(ch.CarrierFailed, match=why):
            prepared(offer)
    near.close()
    far.close()


def test_strangers_at_the_door_are_passed_over() -> None:
    near, far = socket.socketpair()
    client, server = ch.Carrying("shm", near.fileno()), ch.Carrying("shm", far.fileno())
    offer = client.offer()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for i in range(5):
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * i))] if i else []
            stranger.sendmsg([b"x" * (4 * i + 4)], rights, 0, b"\0" + offer[-24:])
    server.connect(client.accept(server.prepare(offer)))
    near.close()
    far.close()


def test_a_server_whose_memory_does_not_come() -> None:
    near, far = socket.socketpair()
    client, server = ch.Carrying("shm", near.fileno()), ch.Carrying("shm", far.fileno())
    grant = server.prepare(client.offer())
    with pytest.raises(ch.CarrierFailed, match="has not mapped"):
        server.connect(b"")
    with pytest.raises(ch.CarrierFailed, match="did not come"):
        client.accept(grant[:-1] + bytes([grant[-1] ^ 1]))
    near.close()
    far.close()


def test_client_and_engine_of_different_users() -> None:
    listening = SHM.listen()
    listening.address.encode("idna")  # loads what connecting needs: nobody may not read this user's files

    def work() -> None:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        client = SHM.connect(listening.address, **CLIENT)
        assert client.call(64, b"as nobody", timeout_ms=5000) == b"as nobody"
        client.bulk(0, bytes(MIB))
        client.close()

    pid = in_child(work)
    engine = listening.accept(peer="client")
    engine.start_reader()
    file = File(MIB)
    engine.share(file.buffer, file.fd)
    engine.land_in(file.buffer)
    assert engine.echo() == ch.EPEER
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    engine.close()
    listening.close()
