"""The built shim, and its inner functions compiled on their own where a test needs to reach them."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(os.environ.get("TEST_SHIM", ROOT / "shim" / "lib" / "libcuda.so.1"))
CC = os.environ.get("CC", "gcc")
FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]


def build(target: Path, *sources: str, libraries: tuple[str, ...] = ("-ldl",)) -> Path:
    """Sources (from the repository's root) as a program or, for *.so, a library with all its symbols."""
    shared = ["-shared", "-fPIC"] if target.suffix == ".so" else []
    command = [CC, *FLAGS, *shared, "-I.", *sources, "-o", str(target), *libraries]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return target


def load(target: Path, *sources: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(build(target, *sources)))


def run(
    program: Path, *arguments: str, seconds: float = 30, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program without any of the project's variables but those given."""
    ours = {name for name in os.environ if name.startswith(("REMORA_", "CUDA_VISIBLE"))}
    base = {name: value for name, value in os.environ.items() if name not in ours}
    command = [str(program), *arguments]
    return subprocess.run(command, env=base | settings, capture_output=True, text=True, timeout=seconds)
