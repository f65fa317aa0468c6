"""A peer of the rdma carrier, made of pyverbs alone: it greets, takes records, answers, moves bulk messages.

It does everything by the book (wire.py), one thing at a time, and checks each thing that it is told. Whoever
tests a broken peer breaks it by hand.
Must not know: Remora's code. What it is given is blobs, a socket that it never looks at, and a device's name.
"""

from __future__ import annotations

import ipaddress
import os
import struct
import time
from typing import Any

from tests.rdma import wire
from tests.rdma.verbs import PORT, Address, End, V, immediate
from tests.rdma.wire import Brief, EndBlob, Notice

RING, RECEIVES, SLOT, WINDOW, READS = 1 << 16, 128, 2 << 10, 16, 16
OWN_BYTES = 4 << 20  # memory that messages are sent from
SOLICITED = V.IBV_SEND_SIGNALED | V.IBV_SEND_SOLICITED
RECORD = struct.Struct("<HHIIHH")
OP_PAD, OP_REPLY = 0, 1
SECONDS = 20.0


class Peer:
    """One end. Counters count from the start and wrap as the wire's do; what is below them, by 2^32."""

    def __init__(self, device: str = "rxe0", ring_bytes: int = RING) -> None:
        self.ring, self.bulk = End(device, depth=2 * RECEIVES), End(device, depth=READS)
        self.mine = EndBlob(
            gid=bytes(16),
            mtu=self.ring.context.query_port(PORT).active_mtu,
            ring_qp=self.ring.qp.qp_num,
            ring_psn=0x123456,
            bulk_qp=self.bulk.qp.qp_num,
            bulk_psn=0x654321,
            reads=READS,
            receives=RECEIVES,
            box_slot=SLOT,
            window=WINDOW,
            ring_bytes=ring_bytes,
            ring_key=0,
            ring_at=0,
            box_at=0,
            box_key=0,
        )
        self.mine.gid = gid_bytes(self.ring.gid)
        self.landing = self.ring.register(ring_bytes)
        self.box = self.ring.register(self.mine.box_bytes)
        self.own, self.lent = self.ring.register(OWN_BYTES), self.bulk.register(OWN_BYTES)
        self.mine.ring_at, self.mine.ring_key = self.landing.buf, self.landing.rkey
        self.mine.box_at, self.mine.box_key = self.box.buf, self.box.rkey
        for _ in range(RECEIVES):
            self.ring.receive(self.own)
        self.theirs: EndBlob
        # out
        self.count = self.sent = self.seq = 0  # immediates, bytes of records, records
        self.bulks_out = [0, 0]
        self.their_taken = self.their_ring = self.their_fetched = 0
        self.their_bulk = (0, 0)
        # in
        self.got = self.received = 0  # immediates, bytes of records
        self.bulks_in = [0, 0]
        self.fetched = 0
        self.released, self.released_bulk = 0, [0, 0]
        self.told, self.told_bulk, self.told_taken = 0, [0, 0], 0
        self.records: list[tuple[int, int, int, bytes]] = []  # op, flags, seq, payload
        self.messages: list[tuple[int, bytes]] = []  # tag, bytes
        self.notes: list[tuple[int, bytes]] = []
        self.how: list[str] = []  # in what form each thing came
        self.completions: list[Any] = []
        self.sent_one = self.taking = False

    # ---- greeting

    def blob(self) -> bytes:
        return self.mine.pack()

    def greet(self, theirs: bytes, reads: bool = True) -> None:
        """Connects both pairs to the other's, as its whole blob says. Without reads nothing can be read here
        before connect_bulk."""
        t = self.theirs = EndBlob.unpack(theirs)
        mtu = min(t.mtu, self.mine.mtu)
        self.ring.connect(Address(t.ring_qp, gid_text(t.gid), t.ring_psn), psn=self.mine.ring_psn, mtu=mtu)
        if reads:
            self.connect_bulk()

    def connect_bulk(self) -> None:
        t, gid = self.theirs, gid_text(self.theirs.gid)
        mtu = min(t.mtu, self.mine.mtu)
        self.bulk.connect(Address(t.bulk_qp, gid, t.bulk_psn), psn=self.mine.bulk_psn, mtu=mtu)

    def close(self) -> None:
        self.ring.close()
        self.bulk.close()

    # ---- sending

    def send_record(self, op: int, payload: bytes = b"", *, flags: int = 0, by_notice: bool = False) -> None:
        """One record, padded to 8 bytes; closes the ring with a pad where it does not fit."""
        self.seq += 1
        data = RECORD.pack(op, flags, RECORD.size + len(payload), self.seq, 0, 0) + payload
        self.send_range(data + bytes(-len(data) % 8), by_notice)

    def send_range(self, data: bytes, by_notice: bool = False) -> None:
        """Whole records, written into the other's ring where the last ones ended."""
        left = self.theirs.ring_bytes - self.sent % self.theirs.ring_bytes
        if len(data) > left:
            self.write_range(struct.pack("<HHI", OP_PAD, 0, left) + bytes(left - 8), by_notice)
        self.write_range(data, by_notice)

    def write_range(self, data: bytes, by_notice: bool) -> None:
        place = self.theirs.ring_at + self.sent % self.theirs.ring_bytes
        self.sent += len(data)
        brief = self.news(len(data))
        self.own.write(data, len(data))
        if brief.fits and not by_notice:
            self.note_told(brief.taken)
            self.write(len(data), 0, place, self.theirs.ring_key, brief.pack(self.count))
            self.count += 1
        else:
            self.write(len(data), 0, place, self.theirs.ring_key)
            self.notify(Notice(wire.RECORDS, n=len(data)))

    def reply(self, seq: int, payload: bytes) -> None:
        """Answers the call that was record seq: status 0, then payload."""
        self.seq += 1
        size = RECORD.size + 8 + len(payload)
        data = RECORD.pack(OP_REPLY, 0, size, seq, 0, 0) + struct.pack("<iI", 0, 0) + payload
        self.send_range(data + bytes(-len(data) % 8))

    def send_bulk(self, tag: int, data: bytes) -> None:
        """In the form that its size asks for. What is read stays in `lent` until the other has read it."""
        kind = int(tag != 0)
        if len(data) <= wire.FOLLOWING_MOST:
            self.notify(Notice(wire.BULK, n=len(data), tag=tag, following=data))
        elif len(data) <= self.theirs.box_slot:
            self.own.write(data, len(data))
            place = self.theirs.bulk_place(kind, self.bulks_out[kind])
            self.write(len(data), 0, place, self.theirs.box_key)
            self.notify(Notice(wire.BOXED, n=len(data), tag=tag))
        else:
            self.lent.write(data, len(data))
            self.notify(Notice(wire.READ, n=len(data), tag=tag, at=self.lent.buf, key=self.lent.rkey))
        self.bulks_out[kind] += 1

    def send_note(self, note: int, text: bytes = b"") -> None:
        self.notify(Notice(wire.NOTE, note=note, n=len(text), following=text))

    def notify(self, notice: Notice) -> None:
        """Completes the notice with all counters and writes it into its place of the other's box."""
        notice.bulk = (self.released_bulk[0] % 256, self.released_bulk[1] % 256)
        notice.ring, notice.taken, notice.fetched = self.released, self.got, self.fetched
        self.note_told(self.got - self.told_taken)
        self.send_notice(notice.pack())

    def send_notice(self, data: bytes) -> None:
        self.own.write(data, len(data))
        place = self.theirs.notice_place(self.count)
        self.write(len(data), 0, place, self.theirs.box_key, wire.notice_imm(self.count))
        self.count += 1

    def write(self, n: int, offset: int, to: int, key: int, imm: int | None = None) -> None:
        """An RDMA WRITE from `own`, awaited. With immediate data it is solicited: sleepers wake by that."""
        opcode = V.IBV_WR_RDMA_WRITE if imm is None else V.IBV_WR_RDMA_WRITE_WITH_IMM
        flags = None if imm is None else SOLICITED
        self.ring.post(opcode, self.own, n, offset, to=(to, key), imm=imm or 0, flags=flags)
        self.until(lambda: self.sent_one)
        self.sent_one = False

    def news(self, n: int) -> Brief:
        bulk = (self.released_bulk[0] - self.told_bulk[0], self.released_bulk[1] - self.told_bulk[1])
        return Brief(n, self.released - self.told, bulk, min(7, self.got - self.told_taken))

    def note_told(self, taken: int) -> None:
        self.told, self.told_bulk = self.released, list(self.released_bulk)
        self.told_taken += taken

    # ---- receiving

    def until(self, condition: Any, seconds: float = SECONDS) -> None:
        """Takes in what comes, in order, until condition() is true. TimeoutError, verbs.Failed."""
        limit = time.monotonic() + seconds
        while not condition():
            if not self.poll():
                if time.monotonic() > limit:
                    raise TimeoutError(f"not within {seconds} s")
                os.sched_yield()

    def poll(self) -> bool:
        """Takes in one completion of the ring pair, if there is one."""
        count, found = self.ring.cq.poll(1)
        if not count:
            return False
        completion = found[0]
        assert completion.status == V.IBV_WC_SUCCESS, f"completion status {completion.status}"
        if completion.opcode == V.IBV_WC_RECV_RDMA_WITH_IMM:
            self.completions.append(completion)
        else:
            self.sent_one = True
        if not self.taking:
            self.take_all()
        return True

    def take_all(self) -> None:
        """What has come, but for what comes meanwhile."""
        self.taking = True
        while self.completions:
            completion = self.completions.pop(0)
            self.ring.receive(self.own)
            self.take(immediate(completion), completion.byte_len)
        self.taking = False

    def take(self, imm: int, n: int) -> None:
        assert wire.in_order(imm, self.got), f"immediate {imm:#x} is not number {self.got}"
        place = self.mine.notice_place(self.got) - self.box.buf
        self.got += 1
        if imm >> 31:
            self.take_notice(Notice.unpack(self.box.read(n, place)), n)
            return
        brief = Brief.unpack(imm)
        assert brief.n == n
        self.their_ring += brief.ring
        self.their_bulk = tuple((a + b) % 256 for a, b in zip(self.their_bulk, brief.bulk, strict=True))
        self.their_taken += brief.taken
        self.how.append("brief")
        self.take_records(n)

    def take_notice(self, notice: Notice, n: int) -> None:
        assert n == wire.NOTICE.size + len(notice.following)
        self.their_ring, self.their_bulk = notice.ring, notice.bulk
        self.their_taken, self.their_fetched = notice.taken, notice.fetched
        if notice.kind == wire.RECORDS:
            self.how.append("notice")
            self.take_records(notice.n)
        elif notice.kind == wire.NOTE:
            self.notes.append((notice.note, notice.following))
        elif notice.kind != wire.CREDIT:
            self.take_bulk(notice)

    def take_records(self, n: int) -> None:
        """n bytes of whole records at the place in the ring where the last ones ended."""
        place, end = self.received % self.mine.ring_bytes, self.received % self.mine.ring_bytes + n
        assert n % 8 == 0 and end <= self.mine.ring_bytes
        assert self.received + n - self.released <= self.mine.ring_bytes, "more than there was credit for"
        while place < end:
            head = self.landing.read(8, place)
            op, flags, size = struct.unpack("<HHI", head)
            if op != OP_PAD:
                data = self.landing.read(size, place)
                self.records.append((op, flags, struct.unpack_from("<I", data, 8)[0], data[16:]))
            place += size + -size % 8
        assert place == end
        self.received += n

    def take_bulk(self, notice: Notice) -> None:
        kind = int(notice.tag != 0)
        if notice.kind == wire.BULK:
            data = notice.following
        elif notice.kind == wire.BOXED:
            place = self.mine.bulk_place(kind, self.bulks_in[kind]) - self.box.buf
            data = self.box.read(notice.n, place)
        else:
            data = self.fetch(notice)
        self.how.append({wire.BULK: "in the notice", wire.BOXED: "boxed", wire.READ: "read"}[notice.kind])
        self.bulks_in[kind] += 1
        self.messages.append((notice.tag, data))

    def fetch(self, notice: Notice) -> bytes:
        """An RDMA READ over the bulk pair from where the message lies."""
        target = self.bulk.register(notice.n, V.IBV_ACCESS_LOCAL_WRITE)
        try:
            self.bulk.post(V.IBV_WR_RDMA_READ, target, notice.n, to=(notice.at, notice.key))
            self.bulk.wait()
            self.fetched += 1
            return bytes(target.read(notice.n, 0))
        finally:
            target.close()

    # ---- credit

    def release(self, bulk_kinds: tuple[int, ...] = ()) -> None:
        """All records so far, and one bulk message of each kind named, are given free and this is told."""
        self.released = self.received
        for kind in bulk_kinds:
            self.released_bulk[kind] += 1
        self.notify(Notice(wire.CREDIT))


def gid_bytes(text: str) -> bytes:
    return ipaddress.IPv6Address(text).packed


def gid_text(data: bytes) -> str:
    """All digits: pyverbs takes no short form."""
    return ipaddress.IPv6Address(data).exploded
