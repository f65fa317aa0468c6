"""A peer that attaches one client and writes down what it sends: frames and records, read by flatc's readers.

A fake in place of the engine, to see the wire itself: it executes nothing and answers what it was told to."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remora.transport import hello

FRAME = struct.Struct("<B2sBIII")
RECORDS, BULK, URGENT, CREDIT, PING, PONG, BYE = range(1, 8)
PAD, REPLY, WAITS = 0, 1, 1


@dataclass
class Seen:
    """One record: flatc's reader of its header, and the bytes behind the header."""

    header: Any
    body: bytes


class RecordingPeer:
    """Listens on an own port; `answers` maps an operation's number to the bytes of its answer struct."""

    def __init__(self, grant: hello.Grant, answers: dict[int, bytes], reader: Callable[[str], Any]) -> None:
        self.grant, self.answers, self.reader = grant, answers, reader
        self.hello: hello.Hello | None = None
        self.records: list[Seen] = []
        self.bulk: list[bytes] = []
        self.failure: BaseException | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(30)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def finish(self) -> list[Seen]:
        """What was recorded, once the client has ended."""
        self.thread.join(30)
        self.listener.close()
        assert not self.thread.is_alive(), "the client did not end"
        if self.failure:
            raise self.failure
        return self.records

    def run(self) -> None:
        try:
            connection, _ = self.listener.accept()
            connection.settimeout(30)
            with connection, connection.makefile("rb") as stream:
                self.attach(connection)
                while self.take_frame(connection, stream):
                    pass
        except BaseException as error:
            self.failure = error

    def attach(self, connection: socket.socket) -> None:
        asked = hello.receive(connection)
        assert isinstance(asked, hello.Hello)
        self.hello = asked
        self.grant.va_base, self.grant.va_bytes = asked.va_base, asked.va_bytes
        for device in self.grant.devices:
            device.va_base, device.va_bytes = asked.va_base, asked.va_bytes
        hello.send(connection, self.grant)
        accepted = hello.receive(connection)
        assert isinstance(accepted, hello.Accept) and accepted.ok

    def take_frame(self, connection: socket.socket, stream: Any) -> bool:
        head = stream.read(FRAME.size)
        if len(head) < FRAME.size:
            return False
        kind, _, _, length, _, _ = FRAME.unpack(head)
        payload = stream.read(length)
        if kind == RECORDS:
            self.take_records(connection, payload)
        elif kind == BULK:
            self.bulk.append(payload)
        elif kind == PING:
            connection.sendall(FRAME.pack(PONG, b"\0\0", 0, 0, 0, 0))
        return bool(kind != BYE)

    def take_records(self, connection: socket.socket, payload: bytes) -> None:
        at = 0
        while at < len(payload):
            header = self.reader("Record")()
            header.Init(bytearray(payload[at : at + 16]), 0)
            assert header.Size() >= 16 and at + header.Size() <= len(payload)
            if header.Op() != PAD:
                self.records.append(Seen(header, payload[at + 16 : at + header.Size()]))
            if header.Flags() & WAITS:
                connection.sendall(self.answer(header))
            at += (header.Size() + 7) & ~7

    def answer(self, call: Any) -> bytes:
        body = struct.pack("<iI", 0, 0) + self.answers.get(call.Op(), b"")
        record = (
            struct.pack("<HHIIHH", REPLY, 0, 16 + len(body), call.Seq(), call.Ctx(), call.Thread()) + body
        )
        record += bytes(-len(record) % 8)
        return FRAME.pack(RECORDS, b"\0\0", 0, len(record), 0, 0) + record
