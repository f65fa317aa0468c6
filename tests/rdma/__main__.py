"""Runs the RDMA tests where they can run: in the guest, then what tests the guest itself.

    python -m tests.rdma              all of them; exit status 0 only when they ran and passed
    python -m tests.rdma --prepare    only makes that possible: minutes the first time, at the lowest priority
    python -m tests.rdma -- ARGS...   pytest in the guest with these arguments

Where no guest can run it says so, at length, and fails: tests that did not run have not passed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.rdma.guest import NoGuest, choose, debian
from tests.rdma.guest.request import FAILED, Request

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
INSIDE = ("tests/rdma/inside",)
OUTSIDE = ("tests/rdma/outside",)
SECONDS = 600.0  # all tests in the guest; QEMU's takes longest


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = sys.argv[1:]
    started = time.monotonic()
    try:
        prepare(again="--prepare" in arguments)
        seconds = time.monotonic() - started
        print(f"remora: the guest for RDMA tests: {choose.kind()}, ready after {seconds:.0f} s", flush=True)
        if "--prepare" in arguments:
            return 0
        if arguments[:1] == ["--"]:
            return inside(arguments[1:])
        return inside(INSIDE) or outside(OUTSIDE)
    except NoGuest as reason:
        return not_run(str(reason))


def prepare(again: bool) -> None:
    """pyverbs in this virtual environment, and a guest. again: also where that failed lately."""
    done = subprocess.run(
        [debian.ROOT / ".ci" / "pyverbs", sys.prefix], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise NoGuest(debian.last_line(done.stdout).removeprefix("remora: "))
    choose.prepare(again)


def inside(tests: tuple[str, ...] | list[str]) -> int:
    """pytest in the guest. What it prints passes through; nothing that it writes is kept."""
    status = choose.run(Request([*PYTEST, *tests], nics="two", seconds=SECONDS))
    if status >= FAILED - 1:
        return not_run(f"the guest ended before its tests did (status {status})")
    return status


def outside(tests: tuple[str, ...]) -> int:
    """pytest here, of tests that start guests."""
    return subprocess.run([*PYTEST, *tests], env=os.environ | {"REMORA_WITH_GUEST": "1"}).returncode


def not_run(reason: str) -> int:
    line = "!" * 100
    text = f"{line}\nRDMA TESTS NOT RUN: {reason}\nThis run fails: rdma is untested.\n{line}"
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
