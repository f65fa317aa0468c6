"""Unmodified CUDA programs give NumPy's numbers: on the software GPU itself, and through Remora."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.programs.harness import Result, cuda_program, python_program
from tests.programs.inputs import sample

Run = Callable[..., Result]


@pytest.mark.parametrize("cudart", ["static", "shared"])
@pytest.mark.parametrize("n", [1, 1000, 1 << 20])
def test_vector_add(run: Run, tmp_path: Path, cudart: str, n: int) -> None:
    run(cuda_program("vector_add", "-cudart", cudart), tmp_path, str(n)).expect_success()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "c.raw", np.float32), sample(n, 1) + sample(n, 2))


def test_two_streams_events_and_pinned_copies(run: Run, tmp_path: Path) -> None:
    run(cuda_program("two_streams"), tmp_path).expect_success()
    n = 1 << 19
    halves = sample(2 * n, 3).reshape(2, n)
    for _ in range(4):
        halves = halves * np.float32(0.5)
        halves = halves + halves[::-1]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.raw", np.float32).reshape(2, n), halves)


def test_driver_api_with_nvrtc(run: Run, tmp_path: Path) -> None:
    run(python_program("driver_api"), tmp_path).expect_success()
    n = 100_003
    x = np.random.default_rng(1).random(n, dtype=np.float32)
    y = np.random.default_rng(2).random(n, dtype=np.float32)
    # a * x + y may be fused: half a unit in the last place of difference.
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), np.float32(2.5) * x + y, rtol=2e-7)


def test_cupy(run: Run, tmp_path: Path) -> None:
    run(python_program("cupy_script"), tmp_path, CUPY_CACHE_DIR=str(tmp_path / "cache")).expect_success()
    x = np.random.default_rng(3).random((300, 400), dtype=np.float32)
    out = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(out["elementwise"], x * 2 + 1, rtol=2e-7)
    np.testing.assert_array_equal(out["compared"], np.where(x > 0.5, x, -x))
    np.testing.assert_allclose(out["total"], x.sum(dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(out["columns"], x.max(axis=0))
    np.testing.assert_allclose(out["rows"], x.mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(out["clamped"], np.clip(x, 0.25, 0.75))
