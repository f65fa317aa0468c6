"""remora.transport is typed for its users: right uses pass mypy --strict, wrong ones are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def errors_in(name: str) -> dict[int, set[str]]:
    """Kinds of mypy's errors by line of one file beside this one, as a user's project would see them."""
    from mypy import api

    report, complaint, _ = api.run(
        [
            "--strict",
            "--config-file=",
            "--follow-imports=silent",
            "--no-incremental",
            "--disable-error-code=import-untyped",
            str(HERE / name),
        ]
    )
    assert not complaint, complaint
    found: dict[int, set[str]] = {}
    for line in report.splitlines():
        match = re.search(rf"{re.escape(name)}:(\d+): error: .*\[([\w-]+)\]$", line)
        if match:
            found.setdefault(int(match[1]), set()).add(match[2])
    return found


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_right_uses_have_no_errors() -> None:
    assert errors_in("typing_right.py") == {}


def test_wrong_uses_have_the_errors_that_are_marked() -> None:
    marked = {}
    for number, line in enumerate((HERE / "typing_wrong.py").read_text().splitlines(), 1):
        match = re.search(r"# wrong: ([\w-]+)$", line)
        if match:
            marked[number] = {match[1]}
    assert len(marked) > 20
    assert errors_in("typing_wrong.py") == marked


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "remora" / "py.typed").exists()
