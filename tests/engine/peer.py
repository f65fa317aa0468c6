"""A client without the shim: says hello, then sends whatever records a test makes up.

Must not know: what the engine should answer.
"""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path
from types import TracebackType

from remora.transport import hello
from remora.transport._channel import Channel

TABLE = Path(__file__).resolve().parents[2] / "shim" / "api" / "calls.txt"
OP = {name: int(number) for number, name in re.findall(r"^(\d+)\s+\w+\s+(\w+)", TABLE.read_text(), re.M)}
REPLY, DONE, CALLBACK, PULL = 1, 2, 3, 4
WAITS = 1
VA_BASE, VA_BYTES = 0x3000_0000_0000, 1 << 38
TABLE_HASH = int(
    re.findall(
        r"RM_TABLE_HASH 0x([0-9a-f]+)",
        (TABLE.parents[1] / "generated" / "records.h").read_text(),
    )[0],
    16,
)


def greeting(ticket: str = "", **changes: object) -> hello.Hello:
    """A good hello, but for the changes."""
    fields = {
        "table_hash": TABLE_HASH,
        "ticket": ticket,
        "pid": 1,
        "program": "peer",
        "va_base": VA_BASE,
        "va_bytes": VA_BYTES,
    }
    return hello.Hello(**(fields | changes))  # type: ignore[arg-type]


class Refused(Exception):
    """The server said no."""


class Peer:
    """An attached client. Calls name operations of calls.txt; payloads are packed by the caller."""

    def __init__(self, address: str, ticket: str = "", **changes: object) -> None:
        connection, answer = hello.request(address, greeting(ticket, **changes), 30)
        if isinstance(answer, hello.Refusal):
            connection.close()
            raise Refused(f"{answer.reason}: {answer.message}")
        assert isinstance(answer, hello.Grant)
        self.grant = answer
        hello.send(connection, hello.Accept(ok=True, va_base=answer.va_base))
        connection.settimeout(None)
        self.channel = Channel(
            connection.detach(),
            ring_bytes=answer.ring_bytes,
            bulk_window=answer.bulk_window,
            service=True,
            deliver=True,
            peer=address,
        )
        self.seen: list[tuple[int, int, bytes]] = []  # op, seq, payload

    def post(self, op: str | int, payload: bytes = b"", ctx: int = 1, thread: int = 1, flags: int = 0) -> int:
        """Sends a record; its sequence number."""
        seq = self.channel.post(
            OP[op] if isinstance(op, str) else op, payload, flags=flags, ctx=ctx, thread=thread
        )
        self.channel.flush()
        return int(seq)

    def call(
        self, op: str | int, payload: bytes = b"", ctx: int = 1, thread: int = 1, seconds: float = 20
    ) -> tuple[int, bytes]:
        """Sends a record and waits: status, answer."""
        seq = self.post(op, payload, ctx, thread, WAITS)
        found = self.wait_for(lambda kind, number, _: kind == REPLY and number == seq, seconds)
        return struct.unpack_from("<i", found)[0], found[8:]

    def done(self, token: int, seconds: float = 20) -> int:
        """Waits for DONE of a token; its status."""
        found = self.wait_for(
            lambda kind, _, data: kind == DONE and struct.unpack_from("<Q", data)[0] == token, seconds
        )
        return int(struct.unpack_from("<i", found, 8)[0])

    def wait_for(self, wanted: object, seconds: float) -> bytes:
        """The payload of the first record that is wanted. TimeoutError, or the channel's error."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.seen += [(op, seq, data) for op, _, seq, _, _, data in self.channel.records()]
            for index, record in enumerate(self.seen):
                if wanted(*record):  # type: ignore[operator]
                    return self.seen.pop(index)[2]
            if self.channel.error:
                raise ConnectionError(self.channel.error[1])
            time.sleep(0.002)
        raise TimeoutError(f"nothing came for {seconds} s")

    def ended(self, seconds: float = 20) -> str:
        """Waits until the engine ends the session; why."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.channel.error:
                return str(self.channel.error[1])
            time.sleep(0.002)
        raise TimeoutError("the session goes on")

    # ---- a few calls that most tests need

    def alloc(self, size: int, ctx: int = 1) -> tuple[int, int]:
        """(status, address)."""
        status, answer = self.call("mem_alloc", struct.pack("<Q", size), ctx)
        return status, struct.unpack_from("<Q", answer)[0] if status == 0 else 0

    def free(self, ptr: int) -> int:
        return self.call("mem_free", struct.pack("<Q", ptr))[0]

    def info(self, ctx: int = 1) -> tuple[int, int]:
        """(free, total)."""
        status, answer = self.call("mem_info", b"", ctx)
        assert status == 0
        return struct.unpack("<QQ", answer)

    def copy_in(self, dst: int, data: bytes, stream: int = 0) -> None:
        """At most 1 MiB."""
        head = struct.pack("<6Q", stream, dst, len(data), len(data), 1, 0)
        if len(data) <= 32768:
            self.post("copy_in", head + data)
        else:
            self.post("copy_in", head)
            self.channel.bulk(0, data)

    def copy_out(self, src: int, size: int, token: int, stream: int = 0) -> tuple[int, bytes]:
        """(status, what came)."""
        self.post("copy_out", struct.pack("<7Q", stream, src, size, size, 1, token, 1))
        status = self.done(token)
        return status, b"".join(
            data for tag, data in self.channel.bulk_messages() if tag == token & 0xFFFFFFFF
        )

    def close(self) -> None:
        self.channel.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
