"""Device memory that the CPU does not see: what tests/rdma/dmabuf.c checks over verbs that stand in."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.programs.toolchain import ROOT


def test_a_dma_buf_is_registered_as_the_standard_asks(tmp_path: Path) -> None:
    program = tmp_path / "dmabuf"
    sources = [ROOT / "tests" / "rdma" / "dmabuf.c", *sorted((ROOT / "transport").glob("*.c"))]
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    include = [f"-I{ROOT / folder}" for folder in ("", "transport")]
    command = ["gcc", *flags, *include, *map(str, sources), "-o", str(program), "-ldl"]
    subprocess.run(command, check=True, timeout=100)
    done = subprocess.run([program], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
