"""Region mode and rounds against coroutine mode: the same kernels must give the same bits.

A `nanosleep` at a kernel's start makes it a coroutine without changing what it computes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from remora.engine.softgpu.compiler.fatbin import find_ptx
from remora.engine.softgpu.compiler.module import Module as Ptx
from remora.engine.softgpu.compiler.unit import Unit
from tests.programs.toolchain import build
from tests.softgpu_compiler import random_kernels
from tests.softgpu_compiler.conftest import SOURCE
from tests.softgpu_compiler.device import Driver

KERNELS = Path(__file__).with_name("region_kernels.cu")
SHAPES = [(64, 1, 1), (33, 1, 1), (7, 5, 3), (16, 16, 1), (8, 1, 4), (1, 1, 1), (1024, 1, 1)]
UNROLLED = """
extern "C" __global__ void unrolled(const int *in, int *out, int n) {
  int me = blockIdx.x * blockDim.x + threadIdx.x, all = blockDim.x * gridDim.x;
  for (int i = me; i < n * 200; i += all) out[me] = out[me] * 3 + in[i];
}"""
RANDOM = 16
FIRST = int(os.environ.get("REMORA_RANDOM_KERNELS", "0"))  # other numbers: other kernels


def translated(path: Path) -> str:
    return find_ptx(build(path, "-fatbin", "-gencode=arch=compute_75,code=compute_75").read_bytes())


def names(text: str) -> list[str]:
    return [e.name for e in Ptx(text).kernels()]


def mode(text: str, name: str) -> str:
    unit = Unit(Ptx(text))
    unit.kernel(name)
    return unit.mode


def as_coroutines(text: str) -> str:
    """Each kernel waits once, at its first instruction."""
    return re.sub(
        r"(\.entry [^{]*\{(?:\s*(?://[^\n]*|\.(?:reg|shared|local)[^;]*;))*)", r"\1\nnanosleep.u32 0;", text
    )


def compare(driver: Driver, text: str, kernels: list[str], shapes: list[tuple[int, int, int]]) -> None:
    regions, coroutines = driver.load(text.encode()), driver.load(as_coroutines(text).encode())
    rng = np.random.default_rng(3)
    for name in kernels:
        for shape in shapes:
            size, grid = int(np.prod(shape)), 4
            data = rng.integers(0, 1000, grid * size + 1024).astype("i4")
            results = []
            for module in (regions, coroutines):
                out = np.zeros(grid * size, "i4")
                module.launch(name, grid, shape, data, out, np.int32(5))
                results.append(out)
            assert np.array_equal(*results), f"{name} with blocks of {shape}"
            assert results[0].any()


def test_kernels_that_meet_at_barriers(driver: Driver) -> None:
    text = translated(KERNELS)
    assert {mode(text, n) for n in names(text)} == {"regions"}
    assert {mode(as_coroutines(text), n) for n in names(text)} == {"coroutine"}
    compare(driver, text, names(text), SHAPES)


def test_random_kernels(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "random.cu"
    path.write_text(random_kernels.source(FIRST, RANDOM))
    text = translated(path)
    kinds = [mode(text, n) for n in names(text)]
    assert kinds.count("regions") > RANDOM // 2
    compare(driver, text, names(text), [(33, 1, 1), (7, 5, 3)])


def test_random_loops_in_step(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "loops.cu"
    path.write_text(random_kernels.loops_source(FIRST, RANDOM))
    text = translated(path)
    assert [mode(text, n) for n in names(text)].count("rounds") > RANDOM // 4
    compare(driver, text, names(text), [(33, 1, 1), (7, 5, 3), (256, 1, 1)])


def test_an_unrolled_loop_in_step(driver: Driver, tmp_path: Path) -> None:
    """nvcc runs the odd rounds first: the counter starts from two places, and grows four times a round."""
    path = tmp_path / "unrolled.cu"
    path.write_text(UNROLLED)
    text = translated(path)
    assert ".pragma" in text and mode(text, "unrolled") == "rounds"
    compare(driver, text, ["unrolled"], [(33, 1, 1), (7, 1, 1)])


@pytest.mark.parametrize(
    "name", ["divergent_barrier", "early_exit", "redux", "scan_block", "spin_lock", "waiting_function"]
)
def test_others_stay_coroutines(name: str) -> None:
    assert mode(translated(SOURCE), name) == "coroutine"
