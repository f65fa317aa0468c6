"""The raw programs measure what they say, and the harness notices programs that fail."""

from __future__ import annotations

import os

import pytest

from remora.bench import raw
from remora.bench.placement import Placement, placements
from remora.bench.programs import BenchError, Program, placed

ONE = placements()["one"]


def test_placed_processes_run_where_they_were_put_and_we_do_not() -> None:
    before = os.sched_getaffinity(0)
    with placed(ONE.client):
        assert os.sched_getaffinity(0) == ONE.client
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("wait", [w for w in raw.WAITS if w != "spin"])
def test_a_round_trip_takes_its_time(wait: str) -> None:
    with raw.pair("pingpong", ONE) as client:
        answer = client.ask(f"run {raw.WAITS[wait]} 5 64 48 50")
    assert 500 < answer["p50_ns"] < 50e6
    assert answer["p50_ns"] <= answer["p99_ns"]


def test_the_fastest_policy_is_no_spinning_on_one_cpu() -> None:
    with raw.pair("pingpong", ONE) as client:
        plain = raw.fastest_pingpong(client, ONE, 64, 48)
    assert plain.wait in raw.WAITS and plain.wait != "spin"


@pytest.mark.parametrize("wait", raw.usable_waits(ONE))
@pytest.mark.parametrize("direction", ["htod", "dtoh"])
def test_streams_of_odd_sizes_arrive_whole(direction: str, wait: str) -> None:
    """The program itself compares checksums of both ends and fails when they differ."""
    with raw.pair("stream", ONE) as client:
        assert raw.Stream(client, direction, (1 << 20) + 8, 65536, wait).p50_ns(2) > 0


def test_a_ring_put_costs_nanoseconds() -> None:
    """And its drain, another process, gets every record: it ends when one is missing."""
    with raw.pair("ringput", ONE) as ring:
        assert 0.1 < ring.ask("run 96 2 500")["cpu_ns"] < 20000
        ring.ask("run 40 2 60000")  # around the ring's end


@pytest.mark.parametrize("wait", raw.usable_waits(ONE))
@pytest.mark.parametrize("direction", ["htod", "dtoh"])
def test_copies_between_two_processes_keep_their_bytes(direction: str, wait: str) -> None:
    """The program itself compares checksums."""
    with raw.pair("memcopy", ONE) as client:
        assert raw.Copy(client, direction, (1 << 20) + 8, wait).p50_ns(2) > 0


def test_a_programs_own_words_reach_the_user() -> None:
    with raw.pair("ringput", ONE) as ring, pytest.raises(BenchError, match="unknown command: fly"):
        ring.ask("fly")


def test_a_program_that_ends_is_noticed() -> None:
    with Program(["true"], ONE.client) as program, pytest.raises(BenchError, match="ended with status 0"):
        program.ask("run")


def test_a_program_that_says_nothing_is_late() -> None:
    with Program(["sleep", "30"], ONE.client) as program, pytest.raises(BenchError, match="in time"):
        program.ask("run", timeout=0.2)
    # leaving the block ended it: nothing is left running


def test_placements_say_their_condition() -> None:
    assert all(isinstance(place, Placement) and place.condition for place in placements().values())
