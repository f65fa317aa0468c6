"""The command line: help that teaches, and mistakes that are answered in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.programs.harness import REMORA, clean_environment, wait_until


def remora(*arguments: str) -> subprocess.CompletedProcess[str]:
    settings = clean_environment(COLUMNS="120", NO_COLOR="1", TERM="dumb")
    return subprocess.run([*REMORA, *arguments], env=settings, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", ["serve", "run", "list", "doctor"])
def test_help_has_an_example(command: str) -> None:
    shown = remora(command, "--help")
    assert shown.returncode == 0 and f"remora {command} -" in shown.stdout


def test_version() -> None:
    from remora import __version__

    assert remora("--version").stdout == f"remora {__version__}\n"


def one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("remora: "), done.stderr
    for word in words:
        assert word in lines[0]


def test_share_out_of_range() -> None:
    one_line(remora("run", "-p", "1.5", "--", "true"), 2, "-p 1.5")


def test_share_and_memory_together() -> None:
    one_line(remora("run", "-p", "0.5", "-m", "10", "--", "true"), 2, "exclude")


def test_driver_of_a_server() -> None:
    one_line(remora("run", "--server", "127.0.0.1:1", "--driver", "softgpu", "--", "true"), 2, "--driver")


def test_token_file_missing(tmp_path: Path) -> None:
    one_line(remora("list", "--token-file", str(tmp_path / "none")), 1, "none", "No such file")


def test_token_file_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    one_line(remora("list", "--token-file", str(tmp_path / "empty")), 1, "empty")


def test_list_without_server() -> None:
    one_line(remora("list", "--server", "127.0.0.1:1"), 1, "127.0.0.1:1")


def test_command_that_is_not_there() -> None:
    done = remora("run", "--driver", "softgpu", "--", "/no/such/program")
    assert done.returncode == 127
    assert "/no/such/program: no such command" in done.stderr


def test_stdin_and_stdout_are_the_programs(tmp_path: Path) -> None:
    command = [*REMORA, "run", "--driver", "softgpu", "--", "cat"]
    done = subprocess.run(
        command, env=clean_environment(), input="hello", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "hello")


def test_environment_of_the_program() -> None:
    command = [*REMORA, "run", "--driver", "softgpu", "--", "env"]
    done = subprocess.run(
        command, env=clean_environment(LD_LIBRARY_PATH="/x"), capture_output=True, text=True, timeout=60
    )
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    folder = settings["LD_LIBRARY_PATH"].split(":")[0]
    assert settings["LD_LIBRARY_PATH"].endswith(":/x") and Path(folder, "libcuda.so.1").exists()
    assert settings["CUPY_COMPILE_WITH_PTX"] == "1" and "CUPY_COMPILE_WITH_PTX=1" in done.stderr
    assert settings["REMORA_SERVER"] and settings["REMORA_TICKET"]


def test_doctor_on_a_program_without_cuda() -> None:
    done = remora("doctor", "--driver", "softgpu", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert "never called a CUDA driver" in done.stderr


def test_pages_of_counters_are_checked() -> None:
    from remora.shim.launcher import stats

    names = ["cuInit", "cuDeviceGet"]
    head = stats.HEADER.pack(b"RMST", 1, stats.HEADER.size, 2, 7, 1, 0, b"prog", b"h:1", b"", *range(9))
    page = stats.parse(
        head + os.urandom(0) + stats.SYMBOL.pack(5, 1, 1000, 0) + stats.SYMBOL.pack(2, 0, 0, 2), names
    )
    assert (page.pid, page.state, page.program, page.calls) == (7, "attached", "prog", 7)
    assert page.symbols[1].unsupported == 2
    for bad in (b"", head[:50], head, b"XXXX" + head[4:] + bytes(64)):
        with pytest.raises(stats.BadPage):
            stats.parse(bad, names)
    with pytest.raises(stats.BadPage):
        stats.parse(head + bytes(64), ["cuInit"])


def through(*command: str) -> subprocess.CompletedProcess[str]:
    return remora("run", "--driver", "softgpu", "--", *command)


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status_is_the_programs(status: int) -> None:
    assert through("sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_death_by_signal_is_the_programs(number: int) -> None:
    assert through("sh", "-c", f"kill -{int(number)} $$").returncode == -number


def test_the_program_has_our_pid_and_no_children() -> None:
    command = [
        *REMORA,
        "run",
        "--driver",
        "softgpu",
        "--",
        "sh",
        "-c",
        "echo $$; cat /proc/$$/task/$$/children",
    ]
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        lines = run.stdout.read().split("\n")
    assert lines[0] == str(run.pid)
    assert len(lines[1].split()) == 1  # the cat alone: neither engine nor keeper


def test_the_engine_ends_with_the_program(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*REMORA, "run", "--driver", "softgpu", "--", "sh", "-c", "echo $REMORA_SERVER; read x"],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout
        host, port = run.stdout.readline().strip().rsplit(":", 1)
        socket.create_connection((host, int(port)), 5).close()
        run.kill()

    def gone() -> bool:
        try:
            socket.create_connection((host, int(port)), 5).close()
        except OSError:
            return True
        return False

    wait_until("the engine is gone", gone, 15)
