"""Options, servers and the report of the benchmarks. Run them with `python -m remora.bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remora.bench import figures, placement, plan, report
from remora.bench.figures import Figure
from remora.bench.placement import Placement
from remora.bench.programs import Program
from remora.bench.remote import Server
from remora.bench.stats import Interleaved

PLACEMENTS = placement.placements()
FIGURES = pytest.StashKey[list[Figure]]()

Rounds = Callable[[Interleaved, int], Interleaved]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("remora")
    group.addoption("--figures-output", type=Path, help="write the figures to this JSON file")
    group.addoption("--quick", action="store_true", help="tiny runs: does everything work? (no bounds)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.addinivalue_line("markers", "steady: measured on one CPU only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        names = ["one"] if metafunc.definition.get_closest_marker("steady") else list(PLACEMENTS)
        metafunc.parametrize("place", [PLACEMENTS[name] for name in names], ids=names, scope="session")
    if "copy" in metafunc.fixturenames:
        copies = _plan(metafunc.config).copies
        metafunc.parametrize("copy", copies, ids=[f"{size // plan.MIB}MiB" for size, _ in copies])


def _plan(config: pytest.Config) -> plan.Plan:
    return plan.QUICK if config.getoption("--quick") else plan.FULL


@pytest.fixture(scope="session")
def sizes(request: pytest.FixtureRequest) -> plan.Plan:
    return _plan(request.config)


@pytest.fixture(scope="session")
def server(place: Placement) -> Iterator[Server]:
    with Server(place) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Program]:
    """A CUDA program whose device 0 is remote, freshly attached for each test."""
    with server.client() as program:
        yield program


@pytest.fixture
def rounds(benchmark: object) -> Rounds:
    """Runs quads under pytest-benchmark; the first one warms up and is forgotten."""

    def run(pair: Interleaved, count: int) -> Interleaved:
        pair.quad()
        pair.forget()
        benchmark.pedantic(pair.quad, rounds=count, iterations=1)  # type: ignore[attr-defined]
        return pair

    return run


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[[Figure], None]:
    return request.config.stash[FIGURES].append


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Writes the figures; a broken bound makes the run fail (status 1)."""
    measured = session.config.stash[FIGURES]
    measured[:] = figures.with_lowest_copies(measured)
    output = session.config.getoption("--figures-output")
    if output and measured:
        figures.write(measured, output, report.machine())
    quick = session.config.getoption("--quick")
    if exitstatus == 0 and measured and not quick and figures.broken(measured):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    measured = config.stash[FIGURES]
    if measured:
        report.show(measured, quick=config.getoption("--quick"))
