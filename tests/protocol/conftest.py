"""Builds shared by the protocol's tests, once each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.protocol import harness


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Lines of the program that calls every stub: [kind, op, ...]."""
    program = harness.frames(tmp_path_factory.mktemp("frames") / "frames")
    return [line.split(" ") for line in harness.run(program).splitlines()]


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording driver, as libcuda.so.1 in a folder of its own."""
    return harness.recorder(tmp_path_factory.mktemp("recorder") / "libcuda.so.1")


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Name of a struct of calls.fbs -> flatc's reader class; None if the struct is empty, so not there."""
    folder = harness.readers(tmp_path_factory.mktemp("readers"))
    sys.path.insert(0, str(folder / "remora"))

    def find(name: str) -> Any:
        if not (folder / "remora" / "calls" / f"{name}.py").exists():
            return None
        return getattr(importlib.import_module(f"calls.{name}"), name)

    return find


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the generated dispatch around a fake session."""
    return harness.dispatch_package(tmp_path_factory.mktemp("dispatch"))
