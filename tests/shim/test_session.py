"""The shim against a real engine on the software GPU: C programs check what each driver call gives."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import harness
from tests.shim import library

DRIVER = "tests/shim/driver"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    with harness.server(tmp_path_factory.mktemp("server"), REMORA_SOFTGPU_MEMORY_MIB="1024") as running:
        yield running


def program(folder: Path, name: str) -> Path:
    """One of the programs, linked to the shim."""
    flags = (f"-L{library.SHIM.parent}", "-l:libcuda.so.1")
    return library.build(folder / name, f"{DRIVER}/{name}.c", libraries=flags)


@pytest.mark.parametrize("name", ["contexts", "copies", "failures", "memory", "modules", "streams", "stress"])
def test_calls_give_what_a_driver_gives(server: harness.Server, tmp_path: Path, name: str) -> None:
    result = server.run([str(program(tmp_path, name))], tmp_path).expect_success()
    assert result.output.endswith(f"{name}: done\n")


@pytest.mark.parametrize(
    ("which", "status"),
    [
        ("fork", 0),
        ("fork-first", 0),
        ("fork-during", 0),
        ("too-late", 0),
        ("exit-elsewhere", 7),
        ("exit-in-callback", 7),
        ("unsynchronised", 0),
        ("threads", 0),
    ],
)
def test_endings(server: harness.Server, tmp_path: Path, which: str, status: int) -> None:
    result = server.run([str(program(tmp_path, "endings"))], tmp_path, which, seconds=30)
    assert result.status == status, result
    assert "endings: done" in result.output
    assert ("too late: done" in result.output) == (which == "too-late")
    assert all("ended" not in line for line in result.errors.splitlines() if line.startswith("remora: 1"))


def test_a_server_that_dies_ends_the_session_with_one_line(tmp_path: Path) -> None:
    with harness.server(tmp_path) as doomed:
        command = [*doomed.command(), str(program(tmp_path, "hold")), str(tmp_path)]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            os.killpg(doomed.process.pid, signal.SIGKILL)
            output, errors = process.communicate(timeout=30)
    assert output == "ended 304\nthen 304\n"
    lines = [line for line in errors.splitlines() if "CUDA calls fail" in line]
    assert len(lines) == 1 and lines[0].count(doomed.address) == 1
