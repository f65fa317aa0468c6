"""CUDA_VISIBLE_DEVICES, which the driver library applies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shim import library

TAIL = "a2a3-a4a5-a6a7-a8a9-aaabacadae"
CASES = {
    None: "0 1 2",
    "": "",
    "1": "1",
    "2,0": "2 0",
    " 2 , 1 ": "2 1",
    "-1": "",
    "NoDevFiles": "",
    "0,-1,1": "0",
    "0,3,1": "0",
    "1,1": "1",
    "0x1": "",
    f"GPU-a0a1{TAIL}01": "1",
    f"gpu-A0A1{TAIL}01,0": "1 0",
    "GPU-ee": "2",
    "GPU-a0": "",
    "0,GPU-a0a1": "0",
    f"GPU-a0a1{TAIL}01ff": "",
    "GPU-": "",
    "MIG-ee": "",
    "99999999999": "",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("visible") / "visible"
    return library.build(target, "tests/shim/visible_program.c", "shim/runtime/visible.c")


@pytest.mark.parametrize("setting", CASES)
def test_devices_and_their_order(program: Path, setting: str | None) -> None:
    settings = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    assert library.run(program, **settings).stdout == CASES[setting]
