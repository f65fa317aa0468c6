"""The allocator in C, under the sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_random_allocations(tmp_path: Path) -> None:
    program = tmp_path / "arena_check"
    sources = ["tests/engine/arena_check.c", "engine/arena.c"]
    flags = ["-std=gnu11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I."]
    subprocess.run(["gcc", *flags, *sources, "-o", str(program)], cwd=ROOT, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "fine" in done.stdout, done.stderr
