"""The built shim against a recording peer: flatc's readers read the frames that a program's calls became."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from remora.shim.gen import facts, schema, table
from remora.transport import hello
from tests.protocol import harness
from tests.protocol.recording_peer import RecordingPeer, Seen

TABLE = table.load(facts.load())
IDS = {c.name: c.id for c in TABLE.wire}
NAMES = {c.id: c.name for c in TABLE.wire}
OFFSET = 4096  # of the allocation, from the beginning of the range
FIRST_STREAM, PER_THREAD = 16, 2


def program(peer: RecordingPeer) -> str:
    shim = harness.ROOT / "shim/lib"
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(shim),
        "REMORA_SERVER": peer.address,
        "REMORA_TICKET": "ticket",
    }
    return harness.run(sys.executable, harness.ROOT / "tests/protocol/wire_client.py", env=environment)


class Answers(dict[int, bytes]):
    """Answers by operation; an allocation lies in the range that the client reserved."""

    peer: RecordingPeer

    def get(self, op: int, default: Any = b"") -> Any:
        if op == IDS["mem_alloc"]:
            assert self.peer.hello
            return struct.pack("<Q", self.peer.hello.va_base + OFFSET)
        return super().get(op, default)


@pytest.fixture(scope="module")
def conversation(reader: Callable[[str], Any]) -> tuple[RecordingPeer, list[Seen], str]:
    device = hello.Device(
        name="Recorder", uuid=bytes(range(16)), total_mem=1 << 30, attributes=list(range(100, 160))
    )
    grant = hello.Grant(
        session=1, devices=[device], driver_version=13000, server="recorder", priority_greatest=-5
    )
    answers = Answers(
        {IDS["cuCtxGetLimit"]: struct.pack("<Q", 54321), IDS["cuEventElapsedTime"]: struct.pack("<f4x", 2.5)}
    )
    peer = answers.peer = RecordingPeer(grant, answers, reader)
    printed = program(peer)
    return peer, peer.finish(), printed


def read(
    conversation: tuple[RecordingPeer, list[Seen], str], reader: Callable[[str], Any], name: str
) -> tuple[Any, Seen]:
    """flatc's view of the only record of an operation."""
    (seen,) = (r for r in conversation[1] if r.header.Op() == IDS[name])
    view = reader(f"{schema.title(name)}Request")()
    view.Init(bytearray(seen.body), 0)
    return view, seen


def test_answers_came_back(conversation: tuple[RecordingPeer, list[Seen], str]) -> None:
    peer, _, printed = conversation
    assert peer.hello
    assert printed.split() == ["54321", hex(peer.hello.va_base + OFFSET), "2.5", "116"]


def test_the_hello_carries_the_tables_hash(conversation: tuple[RecordingPeer, list[Seen], str]) -> None:
    assert conversation[0].hello
    assert conversation[0].hello.table_hash == TABLE.hash
    assert conversation[0].hello.ticket == "ticket"


def test_headers_say_context_thread_and_order(conversation: tuple[RecordingPeer, list[Seen], str]) -> None:
    records = [r for r in conversation[1] if r.header.Op() != IDS["thread_gone"]]
    assert {r.header.Ctx() for r in records} == {1}
    assert len({r.header.Thread() for r in records}) == 1
    sequence = [r.header.Seq() for r in records]
    assert sequence == list(range(sequence[0], sequence[0] + len(records)))
    waits = {NAMES[r.header.Op()] for r in records if r.header.Flags() & 1}
    assert waits == {"cuCtxGetLimit", "mem_alloc", "cuEventElapsedTime"}


def test_every_record_has_its_operations_size(
    conversation: tuple[RecordingPeer, list[Seen], str], reader: Any
) -> None:
    calls = {c.id: c for c in TABLE.wire}
    for seen in conversation[1]:
        request = reader(f"{schema.title(calls[seen.header.Op()].name)}Request")
        size = request.SizeOf() if request else 0
        assert len(seen.body) == size or (calls[seen.header.Op()].bytes_in and len(seen.body) > size)


def test_generated_calls_are_read(conversation: tuple[RecordingPeer, list[Seen], str], reader: Any) -> None:
    assert conversation[0].hello
    address = conversation[0].hello.va_base + OFFSET
    limit, _ = read(conversation, reader, "cuCtxGetLimit")
    assert limit.Limit() == 1
    rows, _ = read(conversation, reader, "cuMemsetD2D16Async")
    assert (rows.DstDevice(), rows.DstPitch(), rows.Us(), rows.Width(), rows.Height()) == (
        address,
        64,
        9,
        3,
        4,
    )
    assert rows.HStream() == 0
    fills = []
    for seen in conversation[1]:
        if seen.header.Op() == IDS["cuMemsetD32Async"]:
            fill = reader("CuMemsetD32AsyncRequest")()
            fill.Init(bytearray(seen.body), 0)
            fills.append((fill.DstDevice(), fill.Ui(), fill.N(), fill.HStream()))
    created, _ = read(conversation, reader, "stream_create")
    stream = created.Stream() + FIRST_STREAM
    assert fills == [(address, 0x01020304, 77, stream), (address, 5, 6, PER_THREAD)]


def test_operations_are_read(conversation: tuple[RecordingPeer, list[Seen], str], reader: Any) -> None:
    assert conversation[0].hello
    created, _ = read(conversation, reader, "stream_create")
    assert (created.Flags(), created.Priority()) == (1, -1)
    event, _ = read(conversation, reader, "event_create")
    recorded, _ = read(conversation, reader, "event_record")
    waited, _ = read(conversation, reader, "cuStreamWaitEvent")
    assert recorded.Event() == waited.HEvent() == event.Event()
    assert recorded.Stream() == waited.HStream() == created.Stream() + FIRST_STREAM
    copied, seen = read(conversation, reader, "copy_in")
    assert (copied.Dst(), copied.Width(), copied.Rows()) == (conversation[0].hello.va_base + OFFSET, 60, 1)
    assert seen.body[reader("CopyInRequest").SizeOf() :] == b"remora" * 10
    allocated, _ = read(conversation, reader, "mem_alloc")
    assert allocated.Bytes() == 4096
