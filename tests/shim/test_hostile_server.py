"""The shim against a server that grants a session and then answers what no engine would."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest

from remora.transport import hello
from tests.shim import library

RECORDS, BULK = 1, 2
REPLY, DONE, CALLBACK, PULL, UNKNOWN = 1, 2, 3, 4, 63


def frame(kind: int, payload: bytes, tag: int = 0) -> bytes:
    return struct.pack("<BBBBIII", kind, 0, 0, 0, len(payload), tag, 0) + payload


def record(op: int, body: bytes, size: int | None = None, thread: int = 1) -> bytes:
    size = 16 + len(body) if size is None else size
    return frame(RECORDS, struct.pack("<HHIIHH", op, 0, size, 1, 0, thread) + body)


ANSWERS = {
    "an empty message under any tag": frame(BULK, b"", tag=0xFFFFFFF0),
    "bytes that no copy waits for": frame(BULK, b"x" * 64, tag=3),
    "a reply without a status": record(REPLY, b""),
    "a reply of another thread": record(REPLY, bytes(8), thread=65535) + record(UNKNOWN, b""),
    "half a note of completion": record(DONE, bytes(8)),
    "a host function that was never given": record(CALLBACK, struct.pack("<QiI", 1 << 32 | 5, 0, 0)),
    "a pull of no copy": record(PULL, struct.pack("<QQII", 1 << 32 | 1, 0, 64, 7)),
    "an unknown operation": record(UNKNOWN, bytes(8)),
    "a record larger than its frame": record(REPLY, bytes(8), size=1 << 19),
}


def serve(listener: socket.socket, answer: bytes) -> None:
    """Grants a session, waits for the first call, answers, and reads on until the client has gone."""
    connection, _ = listener.accept()
    with connection:
        asked = hello.receive(connection)
        assert isinstance(asked, hello.Hello)
        device = hello.Device(name="none", uuid=bytes(16), total_mem=1 << 30, attributes=[1] * 120)
        where = {"va_base": asked.va_base, "va_bytes": asked.va_bytes}
        hello.send(connection, hello.Grant(devices=[device], driver_version=13000, **where))
        hello.receive(connection)
        connection.recv(4096)
        connection.sendall(answer)
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("name", ANSWERS)
def test_the_program_goes_on_with_an_error(tmp_path: Path, name: str) -> None:
    flags = (f"-L{library.SHIM.parent}", f"-Wl,-rpath,{library.SHIM.parent}", "-l:libcuda.so.1")
    program = library.build(tmp_path / "asks", "tests/shim/driver/asks.c", libraries=flags)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, ANSWERS[name]), daemon=True)
        server.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        result = library.run(program, seconds=20, REMORA_SERVER=address)
        server.join(10)
    assert result.stdout == "asked 304, then 304\n", (result.stdout, result.stderr, result.returncode)
    assert result.stderr.count("CUDA calls fail from now on") == 1
    assert not server.is_alive()
