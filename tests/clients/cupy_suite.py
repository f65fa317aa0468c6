"""CuPy's own tests on the software GPU: directly, or through `remora run`.

    python -m tests.clients.cupy_suite SOURCES [--remote] [--jobs N] [--every N] [FILE ...]

SOURCES is CuPy's unpacked source distribution of the version that is installed (`pip download --no-binary
:all: cupy==...`): its wheel has no tests. --every 7 takes each seventh test of a file, for they are 10^5.
Results go to build/clients/cupy-{direct,remote}.json.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from tests.clients import runner

# Without cuBLAS and cuSOLVER, which make machine code only; what is random needs cuRAND's generators.
FOLDERS = (
    "core_tests",
    "creation_tests",
    "indexing_tests",
    "logic_tests",
    "manipulation_tests",
    "math_tests",
)
FOLDERS += ("sorting_tests", "statistics_tests", "binary_tests", "functional_tests", "padding_tests")


def take_tests(sources: Path, work: Path) -> Path:
    """A copy without the folder that would be taken for CuPy itself."""
    copy = work / "tests"
    if not copy.exists():
        shutil.copytree(sources / "tests", copy)
    return copy / "cupy_tests"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    runner.add_options(parser)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--every", type=int, default=1, help="run one test of so many")
    parser.add_argument("files", nargs="*", help="parts of file names; all by default")
    args = parser.parse_args()
    tests = take_tests(args.sources, runner.folder("cupy", args.remote))
    files = sorted(file for folder in FOLDERS for file in (tests / folder).glob("test_*.py"))
    wanted = [f for f in files if not args.files or any(part in str(f) for part in args.files)]
    options = ["-p", "tests.clients.sample", "-W", "ignore"]
    runner.run("cupy", wanted, args, options, CLIENT_EVERY=str(args.every))


if __name__ == "__main__":
    main()
