"""Where little memory may be locked: copies are staged, with one warning; with no room at all it is tcp.

The programs run as a user without CAP_IPC_LOCK, whom the limit holds; the server's side has none.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import Server, cuda_program

NOBODY = 65534
STAGED = "could not be registered"
pytestmark = pytest.mark.timeout(110)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with harness.server(tmp_path_factory.mktemp("server"), REMORA_SOFTGPU_DEVICES="1") as running:
        yield running


def run(server: Server, folder: Path, kib: int | str, transport: str) -> subprocess.CompletedProcess[str]:
    """The program with two pinned buffers of 4 MiB and a limit on locked memory."""
    for path in (folder, server.token_file):
        open_to_all(path)
    command = [*server.command("--transport", transport), *cuda_program("fork_pinned"), str(folder)]
    user = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    return subprocess.run(
        ["sh", "-c", f'ulimit -l {kib}; exec "$@"', "sh", *user, *command],
        env=harness.clean_environment(HOME=str(folder), REMORA_LOG="info"),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=harness.toolchain.ROOT,
    )


def open_to_all(path: Path) -> None:
    """pytest's folders are their owner's alone. What is changed here is the guest's layer of RAM."""
    path.chmod(0o777)
    for above in path.parents:
        above.chmod(above.stat().st_mode | 0o755)


def test_without_a_limit_all_is_registered(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path, "unlimited", "rdma")
    assert done.returncode == 0, done.stderr
    assert STAGED not in done.stderr and "transport rdma" in done.stderr


def test_pinned_memory_beyond_the_limit_is_staged_with_one_warning(server: Server, tmp_path: Path) -> None:
    """Rings and staging take 5 MiB from the start where there is a limit, the first buffer 4 MiB."""
    done = run(server, tmp_path, 11 << 10, "rdma")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(STAGED) == 1, done.stderr
    assert "transport rdma" in done.stderr


def test_a_limit_too_small_for_rings_makes_it_tcp(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path, 64, "auto")
    assert done.returncode == 0, done.stderr
    assert "transport rdma" not in done.stderr


def test_a_limit_too_small_for_rings_is_an_error_when_rdma_was_forced(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path, 64, "rdma")
    assert done.returncode != 0
    assert "ulimit -l" in done.stderr and "could not be locked" in done.stderr, done.stderr
