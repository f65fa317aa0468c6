"""What the built library shows to the world, and what it answers with no server."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from remora.shim.generated.symbols import SYMBOLS
from tests.shim import library

NO_DEVICE = 100
NAMES = {name for name, _mode in SYMBOLS}

PROBE = """
import ctypes, sys
cuda = ctypes.CDLL(sys.argv[1])
count, version, device = ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_int(-1)
print(cuda.cuInit(0), cuda.cuInit(0), cuda.cuInit(1))
print(cuda.cuDriverGetVersion(ctypes.byref(version)), version.value)
print(cuda.cuDeviceGetCount(ctypes.byref(count)), cuda.cuMemAlloc_v2(None, 4), cuda.cuCtxSynchronize())
name = ctypes.c_char_p()
print(cuda.cuGetErrorName(100, ctypes.byref(name)), name.value.decode())
"""


def tool(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_it_exports_the_driver_api_and_nothing_else() -> None:
    lines = [line.split() for line in tool("nm", "-D", "--defined-only", str(library.SHIM)).splitlines()]
    assert {words[-1].split("@")[0] for words in lines if words[-2] != "A"} == NAMES


def test_it_needs_only_libc() -> None:
    needed = [line.split("[")[1].rstrip("]") for line in tool("readelf", "-d", str(library.SHIM)).splitlines()
              if "(NEEDED)" in line]  # fmt: skip
    assert set(needed) <= {"libc.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2"}


def test_loading_it_has_no_side_effects() -> None:
    """Its only constructors are the C runtime's own (frame_dummy)."""
    sections = tool("readelf", "-SW", str(library.SHIM))
    line = next(line for line in sections.splitlines() if ".init_array" in line)
    assert int(line.split(".init_array")[1].split()[3], 16) == 8


def probe(**settings: str) -> subprocess.CompletedProcess[str]:
    return library.run(Path(sys.executable), "-c", PROBE, str(library.SHIM), **settings)


def check(result: subprocess.CompletedProcess[str], first: int) -> str:
    """What such a process prints; returns its one line on stderr."""
    lines = result.stdout.splitlines()
    assert lines[0] == f"{first} {first} 1", result
    assert lines[1] == "0 13000"
    assert lines[2] == f"{first} {first} {first}"
    assert lines[3] == "0 CUDA_ERROR_NO_DEVICE"
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("remora: ")
    return result.stderr


def test_without_a_server_there_is_no_device_and_one_line_says_why() -> None:
    assert "remora run" in check(probe(), NO_DEVICE)


def test_a_server_that_is_not_there() -> None:
    line = check(probe(REMORA_SERVER="127.0.0.1:9"), NO_DEVICE)
    assert "127.0.0.1:9" in line and "remora serve" in line


@pytest.mark.parametrize("server", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", "no-such-host.invalid:1"])
def test_an_address_that_leads_nowhere(server: str) -> None:
    assert server.split(":")[0] in check(probe(REMORA_SERVER=server), NO_DEVICE)


def test_private_tables_that_are_not_known_are_refused() -> None:
    cuda = ctypes.CDLL(str(library.SHIM))
    table = ctypes.c_void_p(1)
    for uuid in ("f8cff95121468b4eb9e2fb469e7c0dd9", "da9151d33ae6cc41a5c04f26d533e328", "00" * 16):
        assert cuda.cuGetExportTable(ctypes.byref(table), bytes.fromhex(uuid)) == 500
    assert cuda.cuGetExportTable(ctypes.byref(table), None) == 1


@pytest.mark.parametrize(
    ("uuid", "slots"),
    {
        "6bd5fb6c5bf4e74a8987d93912fd9df9": 13,
        "a094798c2e742e7493f20800200c0a66": 7,
        "42d85a8123f6cb478298f6e78a3aecdc": 4,
        "263e88607cd2614392f6bbd5006dfa7e": 4,
        "d4082055bde6704b8d34ba123c66e1f2": 3,
        "21318c60971432488ca641ff7324c8f2": 52,
    }.items(),
)
def test_private_tables_begin_with_their_size(uuid: str, slots: int) -> None:
    cuda = ctypes.CDLL(str(library.SHIM))
    table = ctypes.POINTER(ctypes.c_size_t)()
    assert cuda.cuGetExportTable(ctypes.byref(table), bytes.fromhex(uuid)) == 0
    assert table[0] == 8 * slots


def test_the_hooks_are_zeroed_words() -> None:
    cuda = ctypes.CDLL(str(library.SHIM))
    table = ctypes.POINTER(ctypes.c_void_p)()
    assert cuda.cuGetExportTable(ctypes.byref(table), bytes.fromhex("a094798c2e742e7493f20800200c0a66")) == 0
    for slot, expected in ((2, 1024), (6, 14)):
        buffer, size = ctypes.c_void_p(), ctypes.c_size_t()
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(table[slot])(
            ctypes.addressof(buffer), ctypes.addressof(size)
        )
        assert size.value == expected
        assert ctypes.string_at(buffer.value or 0, 8 * expected) == bytes(8 * expected)
