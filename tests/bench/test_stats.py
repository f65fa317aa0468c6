"""The arithmetic behind every figure: medians, intervals, ratios of interleaved runs, bounds."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from remora.bench import figures
from remora.bench.figures import Bound, Figure
from remora.bench.stats import Interleaved, Interval, median_interval


def test_interval_of_seven_values_is_their_range() -> None:
    found = median_interval([3, 1, 2, 7, 5, 6, 4])
    assert (found.median, found.low, found.high) == (4, 1, 7)
    assert found.coverage == pytest.approx(1 - 2 / 2**7)


def test_interval_of_twelve_values_drops_two_at_each_end() -> None:
    found = median_interval(range(12))
    assert (found.low, found.high) == (2, 9)
    assert found.coverage == pytest.approx(1 - 2 * (1 + 12 + 66) / 2**12)


def test_few_values_say_how_little_they_cover() -> None:
    assert median_interval([1, 2, 3]).coverage == pytest.approx(0.75)
    assert median_interval([5]) == Interval(5, 5, 5, 0.0)


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


@pytest.mark.parametrize("n", [7, 12, 25])
def test_interval_covers_a_skewed_distributions_median_as_often_as_promised(n: int) -> None:
    source, true_median, trials = random.Random(n), 2**0.5, 4000  # of a Pareto distribution, alpha = 2
    hits = 0
    for _ in range(trials):
        found = median_interval([source.paretovariate(2) for _ in range(n)])
        hits += found.low <= true_median <= found.high
    assert hits / trials >= 0.94


def test_quads_run_a_b_b_a_and_cancel_a_drift() -> None:
    clock, order = iter(range(1, 100)), []

    def way(name: str, factor: float) -> float:
        order.append(name)
        return factor * next(clock)  # the machine gets slower with every run

    pair = Interleaved(lambda: way("a", 3), lambda: way("b", 3))
    assert pair.quad() == pytest.approx(1.0)
    assert order == ["a", "b", "b", "a"]


def test_turned_ratio_is_bandwidth_over_bandwidth() -> None:
    pair = Interleaved(lambda: 2.0, lambda: 1.0, turned=True)
    pair.quad()
    assert pair.interval().median == 0.5  # twice the time is half the speed


def test_forgotten_quads_do_not_count() -> None:
    pair = Interleaved(lambda: 2.0, lambda: 1.0)
    pair.quad()
    pair.forget()
    assert (pair.a_values, pair.b_values, pair.ratios) == ([], [], [])


def figure(name: str, ratio: float) -> Figure:
    return Figure(name, ratio, ratio, ratio, "x")


def sane() -> list[Figure]:
    return [figure(bound.figure, bound.limit) for bound in figures.BOUNDS]


def test_figures_at_their_bounds_are_sane() -> None:
    assert figures.broken(sane()) == []


@pytest.mark.parametrize("bound", figures.BOUNDS, ids=lambda bound: bound.figure)
def test_a_figure_beyond_its_bound_is_named(bound: Bound) -> None:
    worse = bound.limit * (1.01 if bound.relation == "<=" else 0.99)
    others = [f for f in sane() if f.name != bound.figure]
    assert [bound.figure in line for line in figures.broken([*others, figure(bound.figure, worse)])] == [True]


def test_a_missing_figure_is_no_pass() -> None:
    assert figures.broken(sane()[1:]) == [f"{figures.BOUNDS[0].figure} was not measured"]


def test_the_lowest_size_speaks_for_a_copy() -> None:
    sizes = [figure("copy_htod.tcp.1MiB", 0.9), figure("copy_htod.tcp.16MiB", 0.8), figure("other", 0.1)]
    lowest = figures.with_lowest_copies(sizes)[0]
    assert (lowest.name, lowest.ratio) == ("copy_htod.tcp", 0.8)


def test_the_file_holds_name_ratio_and_unit(tmp_path: Path) -> None:
    figures.write(sane(), tmp_path / "new" / "bench.json", {"cpus": 2})
    record = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert [set(entry) >= {"name", "ratio", "unit"} for entry in record["figures"]] == [True] * 4
