"""The object loader and the cache against damaged files."""

from __future__ import annotations

import ctypes as C
import hashlib
import struct
import subprocess
from pathlib import Path

import pytest

from tests.softgpu import driver as cuda
from tests.softgpu.driver import Driver

HERE = Path(__file__).resolve().parent
SOFTGPU = HERE.parents[1] / "engine" / "softgpu"
ROUNDS = 50_000


def test_damaged_objects_are_refused(gpu: Driver, settings: dict[str, str], tmp_path: Path) -> None:
    gpu.call("cuFuncLoad", gpu.function(gpu.module(cuda.PTX), "add"))
    sample = next(Path(settings["REMORA_SOFTGPU_CACHE"]).glob("*/*-0.o"))
    program = tmp_path / "fuzz"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
        + [str(HERE / "fuzz_objects.c"), str(SOFTGPU / "objects.c"), "-o", str(program)],
        check=True,
        timeout=120,
    )
    end = subprocess.run([program, sample, str(ROUNDS)], capture_output=True, text=True, timeout=120)
    assert end.returncode == 0, end.stdout + end.stderr


def launched(gpu: Driver, times: int) -> list[int]:
    """The kernel of a freshly loaded module adds 1, so many times."""
    pointer = gpu.get("cuMemAlloc_v2", 4 * 64)
    gpu.call("cuMemsetD32_v2", pointer, C.c_uint(0), 64)
    for _ in range(times):
        module = gpu.module(cuda.PTX)
        gpu.launch(gpu.function(module, "add"), 1, 64, pointer, C.c_uint(64), C.c_uint(1))
        gpu.call("cuCtxSynchronize")
        gpu.call("cuModuleUnload", module)
    return list(struct.unpack("64I", gpu.read(pointer, 4 * 64)))


@pytest.mark.parametrize("what", ["code", "length", "nothing"])
@pytest.mark.parametrize("suffix", ["-0.o", ".mod"])
def test_a_damaged_file_of_the_cache_is_made_anew(
    gpu: Driver, settings: dict[str, str], suffix: str, what: str
) -> None:
    assert launched(gpu, 1) == [1] * 64
    key = hashlib.sha256(b"\0" + cuda.PTX.encode()).hexdigest()
    path = next(Path(settings["REMORA_SOFTGPU_CACHE"]).glob(f"*/{key}{suffix}"))
    good = path.read_bytes()
    middle = len(good) // 2
    damaged = {"code": good[:middle] + bytes([good[middle] ^ 0x40]) + good[middle + 1 :], "length": good[:-9]}
    path.write_bytes(damaged.get(what, b""))
    assert launched(gpu, 2) == [2] * 64
    assert path.read_bytes() == good
