"""What `remora run` sets for clients does what it is for; no client is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remora.shim.launcher import environment
from tests.programs import harness

ASK = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
values = [ctypes.c_int() for _ in range(3)]
assert driver.cuInit(0) == 0 and driver.cuDriverGetVersion(ctypes.byref(values[0])) == 0
for value, attribute in zip(values[1:], (75, 76)):
    assert driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0) == 0
print(*(value.value for value in values))
"""


def ptxas(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([environment.PTXAS, *arguments], capture_output=True, text=True, timeout=20)


def test_the_stand_in_for_ptxas_hands_the_ptx_through(tmp_path: Path) -> None:
    (tmp_path / "kernel.ptx").write_text(".version 9.0")
    done = ptxas("-lineinfo", "-v", "--gpu-name=sm_120a", f"{tmp_path}/kernel.ptx", "-o", f"{tmp_path}/out")
    assert (done.returncode, (tmp_path / "out").read_text()) == (0, ".version 9.0")


def test_the_stand_in_says_a_version_as_ptxas_does() -> None:
    assert "release 13.0" in ptxas("--version").stdout and "remora" in ptxas("--version").stdout


def test_the_stand_in_refuses_what_it_does_not_understand(tmp_path: Path) -> None:
    assert ptxas("kernel.ptx").returncode == 1
    assert ptxas("-o", f"{tmp_path}/out").returncode == 1
    assert ptxas(f"{tmp_path}/missing.ptx", "-o", f"{tmp_path}/out").returncode != 0


@pytest.mark.parametrize("how", ["direct", "remote"])
def test_the_device_says_what_it_is_told_to(how: str, tmp_path: Path) -> None:
    settings = {"REMORA_SOFTGPU_CAPABILITY": "130", "REMORA_DRIVER_VERSION": "13040"}
    command = [sys.executable, "-c", ASK]
    if how == "direct":
        base = environment.for_softgpu(harness.clean_environment(**settings))
        end = harness.finish(command, base, tmp_path)
    else:
        (tmp_path / "server").mkdir()
        with harness.server(tmp_path / "server", **settings) as server:
            end = server.run(command, tmp_path, **settings)
    assert end.expect_success().output.split() == ["13040", "13", "0"]


@pytest.mark.parametrize("installed", [False, True])
def test_the_driver_is_newer_than_it_is_only_for_warp(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: installed and name == "warp")
    base = environment.for_softgpu(harness.clean_environment())
    told = harness.finish([sys.executable, "-c", ASK], base, tmp_path).expect_success().output.split()[0]
    assert told == ("13090" if installed else "13000")


def test_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    own = {"CUPY_COMPILE_WITH_PTX": "0", "TRITON_PTXAS_PATH": "/mine"}
    settings = dict(own)
    added = environment.prefer_ptx(settings)
    assert settings | own == settings
    assert {line.partition("=")[0] for line in added} == set(environment.PTX_SETTINGS) - set(own)
