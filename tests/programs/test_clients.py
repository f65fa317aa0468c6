"""Other CUDA stacks, where the extra `clients` is installed: NumPy's numbers, directly and through Remora."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.programs.harness import Result, python_program, run_directly, server

Run = Callable[..., Result]


def find_library(name: str) -> bool:
    """Whether a wheel brought one of NVIDIA's libraries."""
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else []
    return any(True for folder in folders or [] for _ in Path(folder).glob(f"cu13/lib/lib{name}.so*"))


@pytest.mark.skipif(not find_spec("numba_cuda"), reason="numba-cuda is not installed (extra `clients`)")
def test_numba(run: Run, tmp_path: Path) -> None:
    run(python_program("numba_script"), tmp_path).expect_success()
    out = np.load(tmp_path / "out.npz")
    x, y, values = out["x"], out["y"], out["values"]
    np.testing.assert_array_equal(out["added"], x + y)
    np.testing.assert_allclose(out["blended"], x * 0.5 + np.sqrt(y), rtol=1e-6)
    np.testing.assert_allclose(out["blended_back"], y * 0.5 + np.sqrt(x), rtol=1e-6)
    padded = np.pad(x, (0, -x.size % 128)).reshape(-1, 128)
    np.testing.assert_allclose(out["sums"], padded.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(out["counts"], np.bincount(values, minlength=64))
    np.testing.assert_array_equal(out["warps"], values.reshape(-1, 32).sum(axis=1))


@pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed")
def test_triton(run: Run, tmp_path: Path) -> None:
    run(python_program("triton_script"), tmp_path, TRITON_CACHE_DIR=str(tmp_path / "triton")).expect_success()
    out = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(out["added"], out["x"] + out["y"])
    exps = np.exp(out["x"].reshape(100, 100))
    np.testing.assert_allclose(out["soft"], exps / exps.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(out["dot"], out["a"].astype(float) @ out["b"].astype(float), rtol=1e-5)


@pytest.mark.skipif(not find_spec("warp"), reason="warp-lang is not installed")
def test_warp(run: Run, tmp_path: Path) -> None:
    run(python_program("warp_script"), tmp_path).expect_success()
    out = np.load(tmp_path / "out.npz")
    sizes = np.linalg.norm(out["points"], axis=1)
    np.testing.assert_allclose(out["saxpy"], 2 * out["x"] + out["y"], rtol=1e-6)
    np.testing.assert_allclose(out["total"], [sizes.sum()], rtol=1e-5)
    np.testing.assert_allclose(out["gradient"], out["points"] / sizes[:, None], rtol=1e-5)


# cuBLAS takes its own PTX on a device that is newer than all whose machine code it holds.
NEW = {"REMORA_SOFTGPU_CAPABILITY": "130"}


@pytest.mark.skipif(not find_library("cublas"), reason="nvidia-cublas is not installed")
@pytest.mark.parametrize("how", ["direct", "remote"])
def test_cublas(how: str, tmp_path: Path) -> None:
    program = python_program("cublas_script")
    if how == "direct":
        run_directly(program, tmp_path, **NEW).expect_success()
    else:
        (tmp_path / "server").mkdir()
        with server(tmp_path / "server", **NEW) as running:
            running.run(program, tmp_path).expect_success()
    out = np.load(tmp_path / "out.npz")
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-13), ("complex64", 1e-5)):
        a, b = out[f"a_{dtype}"], out[f"b_{dtype}"]
        np.testing.assert_allclose(out[f"c_{dtype}"], a @ b + 1, rtol=tolerance)
    np.testing.assert_allclose(out["squares"], out["many"] @ out["many"], rtol=1e-5)
    np.testing.assert_allclose(out["dot"], out["vector"] @ out["vector"], rtol=1e-13)
