"""A pytest plugin: one line of JSON for each test as it ends, so that a crash loses nothing that came before.

Loaded by name (`-p tests.clients.recorder`) into the process that runs a client's tests; it must need nothing
but pytest there. The file is named by $CLIENT_RESULTS.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

RESULTS = Path(os.environ["CLIENT_RESULTS"])


def note(test: str, outcome: str, cause: str = "") -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps({"test": test, "outcome": outcome, "cause": cause}) + "\n")


def cause_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The last line that says what went wrong."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines() or [""]
    return next((line for line in lines if "Error" in line or "CUDA_" in line), lines[0])[:300]


def pytest_runtest_logstart(nodeid: str) -> None:
    note(nodeid, "started")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcome = "expected" if hasattr(report, "wasxfail") else report.outcome
        note(report.nodeid, outcome, cause_of(report) if report.outcome != "passed" else "")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.outcome != "passed":
        note(report.nodeid, "skipped" if report.skipped else "uncollected", cause_of(report))
