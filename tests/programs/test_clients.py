"""Other CUDA stacks, where the extra `clients` is installed: NumPy's numbers, directly and through Remora."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.programs.harness import Result, python_program

Run = Callable[..., Result]


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
