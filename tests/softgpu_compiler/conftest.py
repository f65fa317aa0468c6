"""The software GPU in this process, with an object cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.toolchain import build
from tests.softgpu import process
from tests.softgpu_compiler.device import Driver, Module

SOURCE = Path(__file__).with_name("kernels.cu")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """The driver library, loaded once."""
    process.settings(tmp_path_factory)
    return Driver()


@pytest.fixture(scope="session")
def kernels(driver: Driver) -> Module:
    """The textbook kernels."""
    return driver.load(build(SOURCE, "-fatbin", "-gencode=arch=compute_75,code=compute_75").read_bytes())
