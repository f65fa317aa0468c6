"""Runs a client's own test modules, each in a process of its own, and gathers what became of every test.

A process that crashes or hangs is started again without the tests that it had come to. Must not know: which
client it is, or how a result is shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.programs import toolchain

TEST_SECONDS = 180  # no progress for so long: the test that is running is said to hang
MODULE_SECONDS = 900
RESTARTS = 12  # a module that crashes more often is given up


@dataclass
class Results:
    """Test id -> (outcome, cause); outcomes are pytest's, and crashed, hung, uncollected, expected."""

    tests: dict[str, tuple[str, str]] = field(default_factory=dict)

    def read(self, file: Path) -> str | None:
        """Takes in what a process wrote. Returns the test that had begun and not ended."""
        running = None
        for line in file.read_text().splitlines() if file.exists() else []:
            entry = json.loads(line)
            test, outcome = entry["test"], entry["outcome"]
            if outcome == "started":
                running = test
            else:
                running = None if test == running else running
                if outcome != "passed" or test not in self.tests:
                    self.tests[test] = (outcome, entry["cause"])
        return running


def run_module(
    prefix: Sequence[str], target: Path, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> Results:
    """All tests of one file. prefix: what stands before `python -m pytest` (nothing, or `remora run --`)."""
    results = Results()
    limit = time.monotonic() + MODULE_SECONDS
    for attempt in range(RESTARTS):
        file = folder / f"{target.stem}.{attempt}.jsonl"
        file.unlink(missing_ok=True)
        done = [f"--deselect={test}" for test in results.tests]
        command = [*prefix, sys.executable, "-m", "pytest", "-p", "tests.clients.recorder", "-q"]
        command += ["-c", os.devnull, "--rootdir", str(folder)]  # nothing of this project's own settings
        command += ["-p", "no:cacheprovider", "-p", "no:benchmark", *options, *done, str(target)]
        settings = {**environment, "CLIENT_RESULTS": str(file), "PYTHONPATH": python_path(environment)}
        how = watch(command, settings, file, folder / f"{target.stem}.log", limit)
        running = results.read(file)
        if not running:
            if how != "ended" and not results.tests:
                results.tests[target.stem] = (how, "while its tests were being collected")
            break
        results.tests[running] = (how if how != "ended" else "crashed", "the process " + how)
    return results


def python_path(environment: Mapping[str, str]) -> str:
    rest = environment.get("PYTHONPATH")
    return f"{toolchain.ROOT}:{rest}" if rest else str(toolchain.ROOT)


def watch(command: Sequence[str], environment: Mapping[str, str], file: Path, log: Path, limit: float) -> str:
    """Runs command until it ends or makes no progress in `file`: "ended", "crashed" or "hung"."""
    begun = time.time()
    with log.open("a") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True, cwd=log.parent
        )
        for _ in pauses(process):
            quiet = time.time() - (file.stat().st_mtime if file.exists() else begun)
            if quiet > TEST_SECONDS or time.monotonic() > limit:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return "hung"
    return "crashed" if process.returncode < 0 or process.returncode > 5 else "ended"


def pauses(process: subprocess.Popen[bytes]) -> Iterator[None]:
    while True:
        try:
            process.wait(0.5)
            return
        except subprocess.TimeoutExpired:
            yield
