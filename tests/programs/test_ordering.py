"""Orders and hazards that remoting could break, each as a program that would notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.programs.harness import Result, Server, cuda_program
from tests.programs.inputs import sample

Run = Callable[..., Result]


def test_two_threads_on_two_devices(run: Run, tmp_path: Path) -> None:
    run(cuda_program("two_devices"), tmp_path, options=["-n", "2"]).expect_success()
    for device, name in enumerate(["zero.raw", "one.raw"]):
        x = sample(10000, 10 + device)
        for _ in range(60):
            x = x * np.float32(0.5) + np.float32(device + 1)
        np.testing.assert_allclose(np.fromfile(tmp_path / name, np.float32), x, rtol=1e-6)


def test_per_thread_default_streams(run: Run, tmp_path: Path) -> None:
    run(cuda_program("per_thread_streams", "--default-stream", "per-thread"), tmp_path).expect_success()
    x = sample(4 * 5000, 5).reshape(4, 5000)
    for _ in range(50):
        x = x * np.float32(0.5) + np.arange(4, dtype=np.float32)[:, None]
    np.testing.assert_allclose(np.fromfile(tmp_path / "out.raw", np.float32).reshape(4, 5000), x, rtol=1e-6)


def test_pinned_buffer_out_then_in(run: Run, tmp_path: Path) -> None:
    run(cuda_program("pinned_reuse"), tmp_path).expect_success()
    n = 1 << 18
    ramp = (np.arange(n) % 97).astype(np.float32)
    ends = np.concatenate([ramp[:1000], ramp[-1000:]])
    expected = np.concatenate([ends + np.float32(round_) for round_ in range(12)])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.raw", np.float32), expected)


def test_host_function_between_copies(run: Run, tmp_path: Path) -> None:
    run(cuda_program("host_function"), tmp_path).expect_success()
    x = sample(1 << 16, 7)
    for _ in range(8):
        x = (x + np.float32(1)) * np.float32(2)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.raw", np.float32), x)


def test_bulk_both_ways_at_once(run: Run, tmp_path: Path) -> None:
    run(cuda_program("both_ways"), tmp_path).expect_success()
    state, seen = 11, np.fromfile(tmp_path / "out.raw", np.uint32)
    for i in range(1000):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        assert seen[i] == state


def test_copies_of_all_kinds_at_once(run: Run, tmp_path: Path) -> None:
    run(cuda_program("mixed_copies"), tmp_path).expect_success()


@pytest.mark.parametrize("milliseconds", [0, 10, 30])
def test_exit_amid_copies(run: Run, tmp_path: Path, milliseconds: int) -> None:
    result = run(cuda_program("leaving"), tmp_path, str(milliseconds))
    assert (result.status, result.output) == (7, "leaving: now\n"), result


def test_full_ring_with_a_callback_outstanding(run: Run, tmp_path: Path) -> None:
    run(cuda_program("full_ring"), tmp_path).expect_success()
    assert np.fromfile(tmp_path / "out.raw", np.uint32)[0] == 60001


def test_out_of_memory_free_retry(run: Run, tmp_path: Path) -> None:
    run(cuda_program("out_of_memory"), tmp_path).expect_success()
    total, free, left, after = np.fromfile(tmp_path / "sizes.raw", np.uint64)
    assert total >= free > 0 and left < 1 << 20 and after == free


def test_host_memory_mapped_anew_at_the_same_address(run: Run, tmp_path: Path) -> None:
    run(cuda_program("remap"), tmp_path).expect_success()
    assert np.fromfile(tmp_path / "out.raw", np.uint8).tolist() == [1, 2, 3, 4, 5, 6]


def test_fork_under_load(run: Run, tmp_path: Path) -> None:
    run(cuda_program("fork_under_load"), tmp_path).expect_success()
    rounds = np.fromfile(tmp_path / "rounds.raw", np.int32)
    x = np.fromfile(tmp_path / "out.raw", np.float32).reshape(2, 4096)
    for thread in range(2):
        value = np.float32(0)
        for _ in range(min(int(rounds[thread]), 64)):
            value = value * np.float32(0.5) + np.float32(1)
        np.testing.assert_array_equal(x[thread], value)


def test_fork_with_pinned_memory(run: Run, tmp_path: Path) -> None:
    run(cuda_program("fork_pinned"), tmp_path).expect_success()
    values = np.arange(1 << 20, dtype=np.uint64) * 3
    sums = [int((values + round_).sum() % 2**32) for round_ in range(4)]
    assert np.fromfile(tmp_path / "sums.raw", np.uint32).tolist() == sums


def test_query_loop(run: Run, tmp_path: Path) -> None:
    run(cuda_program("query_loop"), tmp_path).expect_success()
    values = np.arange(4, dtype=np.uint32)
    for _ in range(20_000_000 // 1000):  # a thousand steps of v -> v * factor + addend at once
        values = values * STEPS[0] + STEPS[1]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.raw", np.uint32), values)


def thousand_steps() -> tuple[np.uint32, np.uint32]:
    """The one step that does a thousand steps of the programs' random generator (modulo 2**32)."""
    factor, addend = 1, 0
    for _ in range(1000):
        factor, addend = factor * 1664525 % 2**32, (addend * 1664525 + 1013904223) % 2**32
    return np.uint32(factor), np.uint32(addend)


STEPS = thousand_steps()


def test_query_loop_makes_no_round_trip_storm(server: Server, tmp_path: Path) -> None:
    result = server.run(cuda_program("query_loop"), tmp_path).expect_success()
    polls = np.fromfile(tmp_path / "polls.raw", np.uint64)
    (page,) = result.pages
    queries = [s for s in page.symbols if s.name.startswith(("cuStreamQuery", "cuEventQuery"))]
    assert polls.min() > 100, "the kernel was over too soon to tell"
    assert sum(s.calls for s in queries) >= polls.sum()
    assert sum(s.waits for s in queries) <= 4
    assert page.waited < 60
