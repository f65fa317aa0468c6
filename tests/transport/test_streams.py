"""The conformance suite as users run it against a transport of their own: good ones pass, bad ones don't."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from remora.transport.conformance import test_streams as suite
from remora.transport.examples.unix import UnixTransport
from tests.programs.harness import toolchain

FAULTS = {
    "KeepsReplies": "receiving_does_not_wait_for_a_full_room",
    "Forgets": "bytes_arrive_whole_and_in_order",
    "EndsBothWays": "finish_ends_one_direction",
    "Hangs": "close_ends_waits",
    "Hoards": "a_sender_waits_for_a_peer_that_takes_nothing",
}


def conformance(name: str, tests: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "remora.transport.conformance", name, "-q", "-x", "-k", tests]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=200,
        cwd=toolchain.ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": "", "REMORA_CONFORMANCE_PATIENCE": "3"},
    )


def test_a_listener_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    listener = UnixTransport().listen("")
    assert Path(listener.address).is_socket() and list(tmp_path.iterdir())
    listener.close()
    listener.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("name", "tests"), [("unix:UnixTransport", "test_"), ("compressed:CompressedTransport", "test_streams")]
)
def test_the_examples_pass(name: str, tests: str) -> None:
    """One of them the whole suite: the channel over its streams, dying peers, broken frames."""
    result = conformance(f"remora.transport.examples.{name}", tests)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout and "skipped" not in result.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_one_is_found_out(fault: str) -> None:
    assert any(name.startswith("test_" + FAULTS[fault]) for name in vars(suite))
    result = conformance(f"tests/transport/broken.py:{fault}Transport", FAULTS[fault])
    assert result.returncode == 1, result.stdout
    assert f"FAILED remora/transport/conformance/test_streams.py::test_{FAULTS[fault]}" in result.stdout or (
        f"test_{FAULTS[fault]}" in result.stdout and "1 failed" in result.stdout
    )


def test_without_a_name_the_usage_is_shown() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "remora.transport.conformance"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert "MODULE:CLASS of your transport" in result.stderr
