"""What programs take for granted about threads of one warp, and functions behind pointers that wait."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from remora.engine.softgpu.compiler.fatbin import find_ptx
from tests.programs.toolchain import build
from tests.softgpu_compiler.device import Driver, Module
from tests.softgpu_compiler.test_regions import mode

BLOCKS = 5


def image() -> bytes:
    source = Path(__file__).with_name("together.cu")
    return build(source, "-fatbin", "-gencode=arch=compute_75,code=compute_75").read_bytes()


@pytest.fixture(scope="module")
def module(driver: Driver) -> Module:
    return driver.load(image())


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 1000, count).astype("i4")


def test_active_mask_in_a_branch(module: Module) -> None:
    data, out = numbers(64 * BLOCKS), np.zeros(64 * BLOCKS, "i4")
    module.launch("active_sums", BLOCKS, 64, data, out)
    assert (out[::2] == 16).all()
    assert np.array_equal(out[1::32], data[1::2].reshape(-1, 16).sum(1))


def test_active_mask_in_a_loop(module: Module) -> None:
    data, out = numbers(64 * BLOCKS), np.zeros(64 * BLOCKS, "i4")
    module.launch("active_in_loop", BLOCKS, 64, data, out)
    for warp in range(2 * BLOCKS):
        rounds = data[warp * 32 : warp * 32 + 32] & 3
        for lane, total in enumerate(rounds):
            want = 0
            for k in range(total):
                want = want * 64 + int((rounds > k).sum())
            assert out[warp * 32 + lane] == want


def test_volatile_shared_memory_in_step(module: Module) -> None:
    data, out = numbers(64 * BLOCKS), np.zeros(BLOCKS, "i4")
    module.launch("volatile_reduce", BLOCKS, 64, data, out)
    assert np.array_equal(out, data.reshape(-1, 64).sum(1))
    out = np.zeros(64 * BLOCKS, "i4")
    module.launch("volatile_scan", 2 * BLOCKS, 32, data, out)
    assert np.array_equal(out.reshape(-1, 32), data.reshape(-1, 32).cumsum(1))


def test_volatile_shared_memory_with_barriers_needs_no_step(module: Module) -> None:
    data, out = numbers(64 * BLOCKS), np.zeros(64 * BLOCKS, "i4")
    module.launch("volatile_with_barriers", BLOCKS, 64, data, out)
    assert np.array_equal(out.reshape(-1, 64), data.reshape(-1, 64).cumsum(1))
    text = find_ptx(image())
    assert mode(text, "volatile_with_barriers") == "regions"
    assert mode(text, "volatile_scan") == "coroutine"


def behind_pointers(values: np.ndarray, block: int) -> np.ndarray:
    functions = [lambda v: v[::-1], lambda v: v.reshape(-1, 2)[:, ::-1].ravel(), lambda v: v * 3, lambda v: v]
    for k in range(4):
        values = functions[(k + block) & 3](values) + k
    return values


def test_functions_behind_pointers_may_wait(module: Module) -> None:
    data, out, most = numbers(64 * BLOCKS), np.zeros(64 * BLOCKS, "i4"), np.zeros(BLOCKS, "i4")
    module.launch("behind_pointers", BLOCKS, 64, data, out, most, shared=65 * 4)
    for block in range(BLOCKS):
        part = slice(block * 64, block * 64 + 64)
        assert np.array_equal(out[part], behind_pointers(data[part], block))
    assert (most >= data.reshape(-1, 64).max(1)).all()


def test_calls_without_arguments(module: Module) -> None:
    out = np.zeros(2, "i4")
    module.launch("no_arguments", 1, 64, out)
    assert out.tolist() == [63, 64]


def test_sine_and_cosine_of_one_angle(module: Module) -> None:
    data = np.linspace(-3, 3, 256).astype("f4")
    out = np.zeros(256, "f4")
    module.launch("both_functions", 4, 64, data, out)
    want = np.sin(data) * 2 + np.cos(data) + 2.0 ** (np.arange(256) & 7)
    assert np.allclose(out, want, atol=1e-5)


def test_registers_that_some_threads_did_not_write(module: Module) -> None:
    data, out = numbers(64 * BLOCKS), np.zeros(64 * BLOCKS, "i4")
    module.launch("unwritten", BLOCKS, 64, data, out)
    assert np.array_equal(out, np.where(data > 500, data + 7, -1))


def test_lengths_of_strings(module: Module) -> None:
    text, out = np.frombuffer(b"abc\0defgh\0i\0\0" + bytes(64), "u1").copy(), np.zeros(13, "i4")
    module.launch("lengths", 1, 13, text, out)
    assert out.tolist() == [3, 2, 1, 0, 5, 4, 3, 2, 1, 0, 1, 0, 0]
