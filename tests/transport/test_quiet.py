"""The end of a channel, from inside: what tests/transport/ends.c checks over a link that stands in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.toolchain import ROOT

WARNINGS = ["-Wall", "-Wextra", "-Werror"]


@pytest.mark.parametrize("checks", [(), ("-fsanitize=thread", "-Wno-tsan")], ids=["plain", "races"])
def test_an_ended_channel_touches_nobodys_memory(tmp_path: Path, checks: tuple[str, ...]) -> None:
    program = tmp_path / "ends"
    sources = [ROOT / "tests" / "transport" / "ends.c", *sorted((ROOT / "transport").glob("*.c"))]
    flags = ["-std=gnu11", "-O1", "-g", "-pthread", *WARNINGS, *checks]
    include = [f"-I{ROOT / folder}" for folder in ("", "transport")]
    command = ["gcc", *flags, *include, *map(str, sources), "-o", str(program), "-ldl"]
    subprocess.run(command, check=True, timeout=100)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
