"""The guest itself: what goes in and comes out. Needs a guest, so `python -m tests.rdma` runs these."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

GUEST = [sys.executable, "-m", "remora.bench.guest"]


def guest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GUEST, *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=110
    )


def test_exit_status_output_and_errors_are_the_commands() -> None:
    done = guest("--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_arguments_environment_and_folder_arrive_as_they_are() -> None:
    words = ["", "a  b", "it's", '"$HOME"', "back\\slash", "new\nline", "*"]
    program = "import os, sys; print(sys.argv[1:], os.environ['WORD'], os.getcwd())"
    done = guest("--", sys.executable, "-c", program, *words, WORD="x 'y' $z")
    assert done.stdout == f"{words} x 'y' $z {os.getcwd()}\n"


def test_much_output_arrives_whole() -> None:
    done = guest("--", sys.executable, "-c", "print('x' * 500_000)")
    assert len(done.stdout) == 500_001


def test_only_folders_that_were_named_keep_what_is_written(tmp_path: Path) -> None:
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    kept.mkdir()
    lost.mkdir()
    command = f"echo yes > {kept}/file; echo no > {lost}/file; cat {kept}/file {lost}/file"
    done = guest("--rw", str(kept), "--", "sh", "-c", command)
    assert done.stdout == "yes\nno\n"
    assert (kept / "file").read_text() == "yes\n"
    assert not (lost / "file").exists()


def test_a_command_that_takes_too_long_ends_with_everything_in_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = guest("--timeout", "3", "--", "sleep", "100", TMPDIR=str(tmp_path))
    assert done.returncode == 124
    assert time.monotonic() - begun < 20
    assert "ended after 3 s" in done.stderr
    assert not [line for line in processes() if str(tmp_path) in line]
    assert not list(tmp_path.iterdir())


def processes() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines


@pytest.mark.parametrize(
    ("layout", "names"), [("none", []), ("one", ["rxe0"]), ("two", ["rxe0", "rxe1", "rxe2"])]
)
def test_devices_are_those_that_were_asked_for(layout: str, names: list[str]) -> None:
    done = guest("--nics", layout, "--", "ls", "/sys/class/infiniband")
    assert done.stdout.split() == names


def test_a_command_that_is_not_there_fails_and_says_so() -> None:
    done = guest("--", "no-such-program")
    assert done.returncode == 127
    assert "no-such-program" in done.stderr
