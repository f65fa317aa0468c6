"""The object loader against damaged files."""

from __future__ import annotations

import subprocess
from pathlib import Path

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
