"""CuPy on the software GPU, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.softgpu_compiler.device import LIBRARY

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(480)
def test_cupy_agrees_with_numpy() -> None:
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(LIBRARY.parent),
        "CUPY_COMPILE_WITH_PTX": "1",
        "CUPY_CACHE_DIR": str(ROOT / "build" / "cupy"),
        "REMORA_SOFTGPU_CACHE": str(ROOT / "build" / "softgpu"),
        "REMORA_SOFTGPU_PYTHON": sys.executable,
    }
    command = [sys.executable, "-m", "tests.softgpu_compiler.cupy_cases"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=460)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.split(" cases")[0].split()[-1]) >= 300
