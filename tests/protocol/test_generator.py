"""The generator: clean, deterministic, one line for a plain call; a wrong line is named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from remora.shim.gen import facts, table
from tests.protocol import harness

API = harness.ROOT / "shim" / "api"


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "remora.shim.gen", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=harness.ROOT, timeout=120)


@pytest.fixture
def api(tmp_path: Path) -> Path:
    """A copy of the table to change."""
    return Path(shutil.copytree(API, tmp_path / "api"))


def add(api: Path, line: str) -> None:
    name = line.split()[2]
    path = api / "calls.txt"
    kept = [x for x in path.read_text().split("\n") if x.startswith("#") or name not in x.split()]
    path.write_text("\n".join([*kept, line, ""]))


def test_the_committed_files_are_what_the_table_says() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_check_fails_when_a_file_differs(api: Path) -> None:
    add(api, "900 call cuDeviceCanAccessPeer canAccessPeer:out")
    done = generate("--check", "--api", api)
    assert done.returncode == 1
    assert "shim/generated/stubs.c is not what the table says" in done.stderr


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    first, second = generate("--root", tmp_path), generate("--root", tmp_path)
    assert first.returncode == 0 and " 0 changed" not in first.stdout
    assert " 0 changed" in second.stdout


# One line each: scalars, a device, a string beside out arguments, an array in, an array out.
NEW_LINES = [
    "900 call cuDeviceCanAccessPeer canAccessPeer:out",
    "901 call cuModuleGetGlobal dptr:out? bytes:out? name:str",
    "902 call cuDeviceGetName name:out[len]",
    "903 call cuDeviceGetHostAtomicCapabilities capabilities:out[count] operations:in[count]",
    "904 slow cuStreamGetPriority priority:out",
]


@pytest.fixture
def new_root(api: Path, tmp_path: Path) -> Path:
    """What the generator writes for the table with all new lines."""
    for line in NEW_LINES:
        add(api, line)
    root = tmp_path / "root"
    for shared in ("shim/runtime", "transport"):
        (root / shared).parent.mkdir(parents=True, exist_ok=True)
        (root / shared).symlink_to(harness.ROOT / shared)
    done = generate("--api", api, "--root", root)
    assert done.returncode == 0, done.stderr
    return root


def test_one_line_is_enough_for_a_plain_call(new_root: Path, tmp_path: Path) -> None:
    """Stub, record, dispatch and driver: through gcc, Cython and a recording driver."""
    printed = [x.split(" ") for x in harness.run(harness.frames(tmp_path / "frames", new_root)).splitlines()]
    cases = (new_root / "tests/protocol/generated/cases.py").read_text()
    page = (new_root / "docs/calls.md").read_text()
    for id, mode, name in (line.split()[:3] for line in NEW_LINES):
        assert next(x[2] for x in printed if x[:2] == ["wait", id]) in cases
        assert f"| `{name}` | {mode} |" in page
    package = harness.dispatch_package(tmp_path / "package", new_root)
    driver = harness.recorder(tmp_path / "libcuda.so.1", new_root)
    for part in ("golden", "sizes", "noise"):
        harness.dispatch_program(part, package, driver, new_root / "tests/protocol/generated")


WRONG = {
    "900 call cuNothing": "not in the header",
    "63 call cuDeviceCanAccessPeer canAccessPeer:out": "an id of 64 or above",
    "900 call cuDeviceCanAccessPeer": "a pointer needs one of",
    "900 post cuDeviceCanAccessPeer canAccessPeer:out": "can't have an out argument",
    "900 call cuDeviceCanAccessPeer other:out": "no argument other",
    "900 fast cuDeviceCanAccessPeer": "mode fast",
    "64 call other_op a:u32": "used in line",
    "900 call other_op a:u33": "expected name:type",
    "900 post other_op a:u32 => b:u32": "no answer",
    "- as cuMemsetD8 cuMemsetD8Async(dstDevice)": "takes 4 arguments",
    "900 call cuStreamCreate phStream:out": "make the call manual",
    "- call": "expected: id mode name",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named(line: str) -> None:
    text = (API / "calls.txt").read_text()
    kept = [
        x
        for x in text.split("\n")
        if len(line.split()) < 3 or x.startswith("#") or line.split()[2] not in x.split()[2:3]
    ]
    with pytest.raises(table.TableError, match=rf"calls.txt:\d+: .*{WRONG[line]}"):
        table.parse("\n".join([*kept, line]), facts.load())


def test_the_hash_follows_the_wire_and_not_the_words() -> None:
    text = (API / "calls.txt").read_text()
    header = facts.load()

    def hash(text: str) -> int:
        return table.Table(table.parse(text, header), {}, set(), {}, header).hash

    assert hash(text) == hash("# a comment\n" + text)
    assert hash(text) != hash(text + "\n900 post other_op a:u32\n")
    assert hash(text) != hash(
        text.replace("mem_alloc                  bytes:u64", "mem_alloc                  bytes:u32")
    )
