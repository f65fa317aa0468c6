"""Every generated call on the software GPU, directly and through `remora run`: the same results."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remora.shim.gen import facts, table
from tests.programs import harness

PROGRAM = [sys.executable, str(Path(__file__).with_name("plain_calls.py"))]
TABLE = table.load(facts.load())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    with harness.server(tmp_path_factory.mktemp("server")) as running:
        yield running


def bases(output: str) -> set[str]:
    """Base names of the symbols that the program says it called."""
    return {re.sub(r"(_v\d+)?(_ptsz|_ptds)?$", "", name) for name in output.split()}


def check(result: harness.Result) -> None:
    called = bases(result.expect_success().output)
    aliased = {c.alias.base for c in TABLE.calls if c.alias and c.name in called}
    wanted = {c.name for c in TABLE.wire if c.is_cuda}
    assert wanted <= called | aliased, f"not tried: {sorted(wanted - called - aliased)}"


def test_directly(tmp_path: Path) -> None:
    check(harness.run_directly(PROGRAM, tmp_path))


def test_through_remora(server: harness.Server, tmp_path: Path) -> None:
    check(server.run(PROGRAM, tmp_path))
