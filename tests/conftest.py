"""For all tests: no skip goes unnoticed.

A skipped test must be listed in allowed_skips.txt, where its reason stands; any other skip fails the run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")
SKIPPED = pytest.StashKey[dict[str, str]]()


def allowed_skips() -> dict[str, str]:
    """Beginnings of test ids and why they may be skipped."""
    lines = [line for line in ALLOWED.read_text().splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.split("  ", 1) for line in lines]
    return {name.strip(): reason.strip() for name, reason in pairs}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    outcome = yield
    note(item.config, outcome.get_result())  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> object:
    outcome = yield
    note(collector.config, outcome.get_result())  # type: ignore[attr-defined]


def note(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Keeps a skip's reason under the test's id."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        config.stash[SKIPPED][report.nodeid] = reason


def unlisted(config: pytest.Config) -> dict[str, str]:
    known = tuple(allowed_skips())
    return {
        name: why for name, why in config.stash[SKIPPED].items() if not (known and name.startswith(known))
    }


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if unlisted(session.config) and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = config.stash[SKIPPED]
    if skipped:
        terminalreporter.section("skipped tests")
    surprises = unlisted(config)
    for name, why in sorted(skipped.items()):
        mark = "NOT ALLOWED" if name in surprises else "allowed"
        terminalreporter.line(f"{mark}: {name}: {why}")
    if surprises:
        terminalreporter.line(
            f"{len(surprises)} skips are not listed in {ALLOWED.name}: the run fails", red=True
        )
