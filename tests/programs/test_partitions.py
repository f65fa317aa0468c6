"""Partitions: the quota is the device's size as the program sees it, and holds to the byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.programs.harness import Server, clean_environment, cuda_program, wait_until

GPU_MIB = 1024  # of each software GPU behind the fixture `server`
MIB = 1 << 20


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-m", "100"], 100 * MIB),
        (["-p", "0.25"], GPU_MIB * MIB // 4),
        (["-p", "0.01"], GPU_MIB * MIB // 100),
    ],
)
def test_quota_is_the_size_and_exact(
    server: Server, tmp_path: Path, options: list[str], expected: int
) -> None:
    server.run(cuda_program("quota"), tmp_path, options=options).expect_success()
    sizes = np.fromfile(tmp_path / "sizes.raw", np.uint64)
    assert len(set(sizes)) == 1 and 0 <= expected - int(sizes[0]) < 2 * MIB  # a share is whole granules


def test_two_programs_share_one_gpu_at_once(server: Server, tmp_path: Path) -> None:
    programs, folders = [], [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        command = [*server.command("-p", "0.4"), *cuda_program("hold"), str(folder), "300"]
        programs.append(subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True))
    try:
        wait_until("both programs compute", lambda: all((f / "ready").exists() for f in folders), 40)
        for folder in folders:
            (folder / "go").touch()
        assert [p.communicate(timeout=30)[0] for p in programs] == ["hold: done\n"] * 2
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def test_two_gpus_show_as_two_devices(server: Server, tmp_path: Path) -> None:
    result = server.run(cuda_program("two_devices"), tmp_path, options=["-n", "2", "-p", "0.5"])
    assert result.expect_success().output.endswith("two_devices: done\n")


def test_more_gpus_than_there_are(server: Server, tmp_path: Path) -> None:
    result = server.run(cuda_program("first_call"), tmp_path, options=["-n", "3"])
    assert result.status == 1 and len(result.errors.splitlines()) == 1
    assert server.address in result.errors and "2" in result.errors


def test_more_memory_than_there_is(server: Server, tmp_path: Path) -> None:
    result = server.run(cuda_program("first_call"), tmp_path, options=["-m", str(GPU_MIB + 1)])
    assert result.status == 1 and len(result.errors.splitlines()) == 1


def test_without_a_server_an_engine_runs_for_the_length_of_the_run(tmp_path: Path) -> None:
    from tests.programs.harness import REMORA, finish

    command = [*REMORA, "run", "--driver", "softgpu", "-m", "64", "--", *cuda_program("quota")]
    result = finish([*command, str(tmp_path)], clean_environment(REMORA_STATS=str(tmp_path)), tmp_path)
    assert "an engine runs here" in result.expect_success().errors
    assert np.fromfile(tmp_path / "sizes.raw", np.uint64).tolist() == [64 * MIB] * 5
