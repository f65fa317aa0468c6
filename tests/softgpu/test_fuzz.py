"""Damaged images: a clear error or a correct module, never a crash."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import toolchain
from tests.softgpu import driver as cuda

HERE = Path(__file__).resolve().parent
ROUNDS = 400
# INVALID_IMAGE, NO_BINARY_FOR_GPU, INVALID_PTX, OUT_OF_MEMORY (an absurd size of a variable), NOT_SUPPORTED
CLEAR = {200, 209, 218, 2, 801}


def images(kind: str, folder: Path) -> Path:
    """One image: a fatbin as nvcc makes it (zstd, LZ4, not compressed), an object file's, or PTX text."""
    if kind == "ptx":
        path = folder / "text.ptx"
        path.write_bytes(cuda.PTX.encode() + b"\0")
        return path
    compression = {"zstd": [], "lz4": ["--compress-mode=speed"], "plain": ["--no-compress"]}[kind]
    source = HERE / "programs" / "vector_add.cu"
    return toolchain.build(source, "-fatbin", "-gencode=arch=compute_75,code=compute_75", *compression)


@pytest.mark.parametrize("kind", ["zstd", "lz4", "plain", "ptx"])
def test_damaged_images(run: Callable, tmp_path: Path, kind: str) -> None:
    end = run(
        sys.executable, "-m", "tests.softgpu.fuzz_images", str(images(kind, tmp_path)), str(ROUNDS), "1"
    )
    assert end.returncode == 0, f"{end.returncode}\n{end.stdout}\n{end.stderr[-2000:]}"
    seen = ast.literal_eval(end.stdout.splitlines()[-1])
    assert sum(seen.values()) == ROUNDS and set(seen) <= CLEAR | {0}, seen
    assert sum(seen[code] for code in seen if code) > ROUNDS / 20, seen
