"""Runs the suite against one backend: ``python -m remora.transport.conformance NAME [pytest's options]``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from .backend import BACKENDS


def main() -> int:
    """The exit status: pytest's, 2 without a name."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(f"{__doc__}\nNAME is tcp, shm, rdma, or MODULE:CLASS of your transport", file=sys.stderr)
        return 2
    try:
        import pytest

        import_module("pytest_timeout")  # a transport that hangs would hang the suite
    except ImportError as error:
        print(f"{error.name} is missing: pip install 'remora[test]'", file=sys.stderr)
        return 2
    os.environ[BACKENDS] = sys.argv[1]
    return int(pytest.main([str(Path(__file__).parent), "-p", "no:cacheprovider", *sys.argv[2:]]))


if __name__ == "__main__":
    sys.exit(main())
