"""docs/transports.md: its Python runs as it stands, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import remora.transport as rt

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "transports.md").read_text()


@pytest.mark.timeout(60)
def test_the_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 4
    program = "\n".join(blocks)
    assert program.count("assert ") >= 7
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr


def test_every_error_is_in_the_table_with_its_bases() -> None:
    table = PAGE.split("| class | also | when |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE))
    kinds = [
        kind for kind in vars(rt).values() if isinstance(kind, type) and issubclass(kind, rt.TransportError)
    ]
    assert set(rows) == {kind.__name__ for kind in kinds} - {"TransportError"}
    for name, base in rows.items():
        assert base in {kind.__name__ for kind in getattr(rt, name).__mro__[1:]}


def test_every_method_of_a_transport_is_in_the_table() -> None:
    for kind in (rt.Transport, rt.Stream, rt.StreamListener):
        for method in kind.__abstractmethods__:
            assert f"| `{method}(" in PAGE, method


def test_paths_and_commands_exist() -> None:
    for path in re.findall(r"`(transport/[\w./]+\.(?:py|h|c))`", PAGE):
        assert (ROOT / path).exists(), path
    used = set(re.findall(r"^    remora (\w+)", PAGE, re.MULTILINE)) | set(
        re.findall(r"`remora\s(\w+)", PAGE)
    )
    usage = subprocess.run(
        [sys.executable, "-m", "remora", "--help"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert used and all(re.search(rf"\b{command}\b", usage) for command in used), used
