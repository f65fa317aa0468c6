"""numba-cuda's own tests of its CUDA target, on the software GPU: directly, or through `remora run`.

    python -m tests.clients.numba_suite [--remote] [--jobs N] [MODULE ...]

Needs the extra `clients`. Results go to build/clients/numba-{direct,remote}.json; `python -m
tests.clients.table` makes docs/clients.md of them.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
from importlib.util import find_spec
from pathlib import Path

from tests.clients import runner

PACKAGES = ("cudadrv", "cudapy", "doc_examples", "nrt")

# The tests use LLVM's FileCheck to look at the text of compiled code. Where the package that brings it isn't
# installed, those tests are skipped instead of all modules that mention it.
STAND_IN = '''"""Stands in for a package that is not installed: who uses it is skipped."""
import unittest


def __getattr__(name):
    class Missing:
        def __init__(self, *a, **k):
            raise unittest.SkipTest("the package filecheck is not installed")
    return Missing
'''

# What numba-cuda's repository has beside the tests, and its wheel hasn't.
CONFTEST = """import pytest


@pytest.fixture
def initialize_from_pytest_config(request):
    request.instance._dump_failed_filechecks = False
"""


def modules() -> list[str]:
    """Full names of the test modules."""
    found = []
    for package in PACKAGES:
        spec = find_spec(f"numba.cuda.tests.{package}")
        assert spec and spec.submodule_search_locations
        names = [m.name for m in pkgutil.iter_modules(spec.submodule_search_locations)]
        found += [f"numba.cuda.tests.{package}.{name}" for name in names if name.startswith("test_")]
    return found


def write_targets(folder: Path, names: list[str]) -> list[Path]:
    """A file for each module that imports its tests: pytest takes the module itself for another package."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conftest.py").write_text(CONFTEST)
    if not find_spec("filecheck"):
        stand_in = folder / "filecheck"
        stand_in.mkdir(exist_ok=True)
        for file in ("__init__.py", "matcher.py", "options.py", "parser.py", "finput.py"):
            (stand_in / file).write_text(STAND_IN)
    targets = []
    for name in names:
        package, module = name.split(".")[-2:]
        target = folder / f"{module.removeprefix('test_')}__{package}.py"
        target.write_text(f"from {name} import *  # noqa: F403\n")
        targets.append(target)
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    runner.add_options(parser)
    parser.add_argument("modules", nargs="*", help="parts of module names; all by default")
    args = parser.parse_args()
    names = [n for n in modules() if not args.modules or any(part in n for part in args.modules)]
    folder = runner.folder("numba", args.remote)
    targets = write_targets(folder / "targets", names)
    path = os.environ.get("PYTHONPATH", "")
    runner.run("numba", targets, args, PYTHONPATH=f"{folder / 'targets'}:{path}")


if __name__ == "__main__":
    main()
