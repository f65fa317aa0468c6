"""The compile service over its socket: requests, errors that name the place, several clients, its
beginning and end.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remora.engine.softgpu.compiler import abi
from remora.engine.softgpu.compiler.cache import CHECK_BYTES, Cache, CacheError, image_key

PTX = b""".version 9.0
.target sm_75
.address_size 64
.visible .entry good(.param .u64 a) { .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [a]; st.global.u32 [%rd1], 7; ret; }
.visible .entry bad() { .reg .b32 %r<2>;
  mov.u32 %r1, 0;
  wgmma.mma_async.strange %r1;
  ret; }
"""


class Client:
    """One connection."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(folder / "service.sock"))

    def ask(self, code: int, body: bytes) -> tuple[int, bytes]:
        self.socket.sendall(abi.HEAD.pack(abi.SERVICE_MAGIC, code, len(body)) + body)
        head = self.socket.recv(abi.HEAD.size, socket.MSG_WAITALL)
        magic, status, size = abi.HEAD.unpack(head)
        assert magic == abi.SERVICE_MAGIC
        return status, self.socket.recv(size, socket.MSG_WAITALL) if size else b""

    def hello(self) -> tuple[int, bytes]:
        return self.ask(abi.ASK_HELLO, struct.pack("<II", abi.KERNEL_ABI, 0))

    def describe(self, image: bytes) -> tuple[int, bytes]:
        return self.ask(abi.ASK_DESCRIBE, abi.ASK_DESCRIBE_BODY.pack(0, 0) + image)

    def compile(self, image: bytes, unit: int) -> tuple[int, bytes]:
        key = bytes.fromhex(image_key(b"", image))
        return self.ask(abi.ASK_COMPILE, abi.ASK_COMPILE_BODY.pack(key, unit, 0))


def start(folder: Path, idle: float = 30) -> tuple[subprocess.Popen[bytes], str]:
    """Start a service as the driver does; returns it and its first words."""
    ready, give = os.pipe()
    command = [sys.executable, "-m", "remora.engine.softgpu.compiler", "serve", "--cache", str(folder)]
    service = subprocess.Popen([*command, "--ready-fd", str(give), "--idle", str(idle)], pass_fds=[give])
    os.close(give)
    with os.fdopen(ready) as words:
        return service, words.readline().strip()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "cache"
    service, said = start(where)
    assert said == "ready"
    yield where
    service.terminate()
    service.wait(10)


def test_describe_and_compile(folder: Path) -> None:
    client = Client(folder)
    status, environment = client.hello()
    assert status == 0 and len(environment) == 32
    assert client.compile(PTX, 0)[0] == abi.SERVICE_NEED_IMAGE
    status, description = client.describe(PTX)
    assert (
        status == 0
        and (folder / environment.decode() / f"{image_key(b'', PTX)}.mod").read_bytes()[:-CHECK_BYTES]
        == description
    )
    status, path = client.compile(PTX, 0)
    assert status == 0 and Path(os.fsdecode(path)).read_bytes().startswith(b"\x7fELF")
    assert Path(os.fsdecode(path)).parent == folder / environment.decode()
    first, *rest = (folder / "environment").read_text().splitlines()
    assert first == f"remora-softgpu {abi.KERNEL_ABI} {environment.decode()}"
    assert rest[0].startswith("cpu ") and all(Path(line.split(" ", 3)[3]).exists() for line in rest[1:])


def test_errors_name_instruction_and_line(folder: Path) -> None:
    client = Client(folder)
    assert client.describe(PTX)[0] == 0
    status, text = client.compile(PTX, 1)
    assert status == 218 and b"wgmma.mma_async.strange" in text and b"line 8" in text
    assert client.compile(PTX, 9)[0] == 218
    assert client.describe(b"\x7fELF" + bytes(100))[0] == 209
    assert client.describe(b"nonsense")[0] == 200
    assert client.describe(PTX.replace(b"bad()", b"bad("))[0] == 218
    assert client.compile(PTX, 0)[0] == 0, "it goes on serving"


def test_clients_at_once(folder: Path) -> None:
    images = [PTX.replace(b", 7;", f", {n};".encode()) for n in range(6)]
    results: list[int] = []

    def work(image: bytes) -> None:
        client = Client(folder)
        results.append(client.describe(image)[0] or client.compile(image, 0)[0])

    threads = [threading.Thread(target=work, args=(i,)) for i in images * 2]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert results == [0] * 12


@pytest.mark.parametrize(
    "junk",
    [b"x" * 16, abi.HEAD.pack(abi.SERVICE_MAGIC, 99, 0), abi.HEAD.pack(abi.SERVICE_MAGIC, 3, 1) + b"x"],
)
def test_junk_closes_that_connection_only(folder: Path, junk: bytes) -> None:
    bad = Client(folder)
    bad.socket.sendall(junk)
    assert bad.socket.recv(1) == b""
    assert Client(folder).hello()[0] == 0


def test_other_version_is_told(folder: Path) -> None:
    status, text = Client(folder).ask(abi.ASK_HELLO, struct.pack("<II", 999, 0))
    assert status != 0 and b"999" in text


def test_one_service_per_folder(folder: Path) -> None:
    second, said = start(folder)
    assert said == "ready" and second.wait(20) == 0
    assert Client(folder).hello()[0] == 0


def test_idle_exit_and_restart(tmp_path: Path) -> None:
    service, said = start(tmp_path / "cache", idle=0.3)
    assert said == "ready"
    client = Client(tmp_path / "cache")
    assert client.hello()[0] == 0
    assert service.wait(20) == 0 and client.socket.recv(1) == b""
    again, said = start(tmp_path / "cache", idle=0.3)
    assert said == "ready" and again.wait(20) == 0


def test_privileges_are_dropped(folder: Path) -> None:
    pid = next(
        p for p in Path("/proc").iterdir()
        if p.name.isdigit() and str(folder).encode() in (p / "cmdline").read_bytes()
    )  # fmt: skip
    assert "NoNewPrivs:\t1" in (pid / "status").read_text()
    assert any(
        line.split()[4:6] == ["0", "0"]
        for line in (pid / "limits").read_text().splitlines()
        if "core" in line
    )


def test_a_folder_that_others_may_write_to(tmp_path: Path) -> None:
    where = tmp_path / "open"
    where.mkdir()
    where.chmod(0o777)
    service, said = start(where)
    assert "others may write" in said and service.wait(20) != 0


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    now = time.time()
    for n in range(6):
        path = cache.object_path("k", n)
        cache.put(path, bytes(100))
        os.utime(path, (now - 100 + n, now - 100 + n))
    assert cache.get(cache.object_path("k", 0)) == bytes(100)
    cache.trim(limit=5 * (100 + CHECK_BYTES), keep=3 * (100 + CHECK_BYTES))
    assert [n for n in range(6) if cache.object_path("k", n).exists()] == [0, 4, 5]
    assert not list(cache.home.glob(".new-*"))


def test_owner_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(CacheError, match="belongs to someone else"):
        Cache(tmp_path / "cache")
