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

from remora.bench.guest import NoGuest, choose, debian
from remora.bench.guest.request import FAILED, TOO_LONG, Request

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
INSIDE = (
    "tests/rdma/inside",
    # What every transport must do, but for what writes bare frames: rdma has none. test_peer.py stands in.
    "tests/transport/conformance",
    "--ignore=tests/transport/conformance/test_frames.py",
    # Both ends of a thousand are more than the guest has: test_idle_memory counts the server's ends of fifty.
    "--deselect=tests/transport/conformance/test_idle.py::test_a_thousand_idle_channels_fit_in_a_gibibyte",
    # The unmodified programs. CuPy's libraries take more mappings than a process of the guest can have, which
    # is as many as the host allows one of its own (vm.max_map_count): the guest's own limit decides nothing.
    "tests/programs/test_programs.py",
    "tests/programs/test_ordering.py",
    "--deselect=tests/programs/test_programs.py::test_cupy",
)
OUTSIDE = ("tests/rdma/outside",)
ENDS = {TOO_LONG: "no time was left", FAILED: "the guest failed", 128 + 9: "the guest's memory was full"}
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
    wanted = os.environ | {"REMORA_BACKENDS": "rdma"}
    status = choose.run(Request([*PYTEST, *tests], nics="two", seconds=SECONDS, environment=wanted))
    if status >= TOO_LONG:
        return not_run(f"they did not come to an end ({ENDS.get(status, f'status {status}')})")
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
