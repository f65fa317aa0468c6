"""The library under test, loaded once in this process, and programs run on it in processes of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs import toolchain
from tests.softgpu import process
from tests.softgpu.driver import Driver

SECONDS = 90


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a program needs to find the library and its compile helper, with a cache of its own."""
    paths = {"LD_LIBRARY_PATH": str(process.LIBRARY.parent), "PYTHONPATH": str(process.ROOT)}
    return paths | process.settings(tmp_path_factory)


@pytest.fixture(scope="session")
def loaded(settings: dict[str, str]) -> Driver:
    driver = Driver(process.LIBRARY)
    driver.call("cuInit", 0)
    return driver


@pytest.fixture
def gpu(loaded: Driver) -> Iterator[Driver]:
    """The driver with device 0's primary context current; what a test leaves behind is reset."""
    context = loaded.get("cuDevicePrimaryCtxRetain", 0)
    loaded.call("cuCtxSetCurrent", context)
    yield loaded
    loaded.call("cuDevicePrimaryCtxReset_v2", 0)
    loaded.call("cuDevicePrimaryCtxRelease_v2", 0)


Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(settings: dict[str, str]) -> Runner:
    """Runs a command on the software GPU: run(command, *, NAME="value") -> its end and output."""

    def command(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **settings, **extra}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    return command


@pytest.fixture
def program() -> Callable[..., str]:
    """The path of a program of programs/, built with nvcc."""

    def build(name: str, *flags: str) -> str:
        return str(toolchain.build(Path(__file__).with_name("programs") / f"{name}.cu", *flags))

    return build
