"""Programs that know only CUDA, over a transport that is written in Python."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.programs import harness
from tests.programs.harness import REMORA, Server, clean_environment, cuda_program, python_program
from tests.programs.inputs import sample
from tests.transport.relays import UNIX, relay

COUNTING = "tests/transport/counting.py:CountingTransport"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with harness.server(tmp_path_factory.mktemp("server"), REMORA_SOFTGPU_MEMORY_MIB="512") as running:
        yield running


def through(
    server: Server, address: str, program: list[str], folder: Path, *arguments: str, transport: str = UNIX
) -> harness.Result:
    """Runs a program whose only way to the server is the relay at address."""
    options = ["--transport", transport, "--server", address, "--token-file", str(server.token_file)]
    settings = clean_environment(COUNTING_FILE=str(folder / "near.count"), REMORA_STATS=str(folder))
    return harness.finish(
        [*REMORA, "run", *options, "--", *program, str(folder), *arguments], settings, folder
    )


def carried(file: Path) -> dict[str, int]:
    """Bytes that a half of a relay sent and received."""
    total = {"sent": 0, "received": 0}
    for line in file.read_text().splitlines():
        what, count = line.split()
        total[what] += int(count)
    return total


def test_a_cuda_program_gives_the_same_numbers(server: Server, tmp_path: Path) -> None:
    n = 1 << 20
    with relay(server.address, tmp_path, COUNTING) as (address, _):
        program = cuda_program("vector_add")
        through(server, address, program, tmp_path, str(n), transport=COUNTING).expect_success()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "c.raw", np.float32), sample(n, 1) + sample(n, 2))
    near, far = carried(tmp_path / "near.count"), carried(tmp_path / "far.count")
    assert near["sent"] == far["received"] > 8 * n, "two inputs of 4 n bytes went over the transport"
    assert far["sent"] >= near["received"] > 4 * n, "and the result came back over it"


def test_a_cupy_script_gives_the_same_numbers(server: Server, tmp_path: Path) -> None:
    with relay(server.address, tmp_path) as (address, _):
        through(server, address, python_program("cupy_script"), tmp_path).expect_success()
    x = np.random.default_rng(3).random((300, 400), dtype=np.float32)
    out = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(out["elementwise"], x * 2 + 1, rtol=2e-7)
    np.testing.assert_array_equal(out["compared"], np.where(x > 0.5, x, -x))
    np.testing.assert_allclose(out["total"], x.sum(dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(out["columns"], x.max(axis=0))
    np.testing.assert_array_equal(out["clamped"], np.clip(x, 0.25, 0.75))


def test_without_a_server_engine_and_both_halves_are_started_here(tmp_path: Path) -> None:
    settings = clean_environment(COUNTING_FILE=str(tmp_path / "count"))
    command = [*REMORA, "run", "--driver", "softgpu", "--transport", UNIX, "--"]
    harness.finish([*command, *cuda_program("vector_add"), str(tmp_path), "1000"], settings, tmp_path)
    expected = sample(1000, 1) + sample(1000, 2)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "c.raw", np.float32), expected)


def test_a_relay_that_dies_ends_the_program_with_an_error(server: Server, tmp_path: Path) -> None:
    with relay(server.address, tmp_path) as (address, process):
        options = ["--transport", UNIX, "--server", address, "--token-file", str(server.token_file)]
        program = subprocess.Popen(
            [*REMORA, "run", *options, "--", *python_program("endless"), str(tmp_path)],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=harness.toolchain.ROOT,
        )
        try:
            harness.wait_until(
                "the program computes", lambda: (tmp_path / "ready").exists() or program.poll() is not None
            )
            assert program.poll() is None, program.communicate()[1]
            process.send_signal(signal.SIGKILL)
            _, errors = program.communicate(timeout=30)
        finally:
            program.kill()
    assert program.returncode != 0
    assert "remora: 127.0.0.1:" in errors


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nowhere_to_be_found:Class", "No module named 'nowhere_to_be_found'"),
        ("remora.transport.examples.unix:Missing", "has no attribute 'Missing'"),
        ("tests/transport/counting.py:NotOne", "not a subclass of remora.transport.Transport"),
        ("tests/transport/missing.py:Class", "No such file"),
        ("tests/transport/counting.py:Unfinished", "the cable is not there"),
        (UNIX, "is `remora relay` running there"),
        (":", "name a transport as MODULE:CLASS"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(reference: str, says: str, tmp_path: Path) -> None:
    command = [*REMORA, "run", "--transport", reference, "--server", str(tmp_path / "nobody"), "--", "true"]
    result = harness.finish(command, clean_environment(), tmp_path)
    assert result.status != 0
    assert says in result.errors
    assert len(result.errors.splitlines()) == 1, result.errors
