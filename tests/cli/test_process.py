"""The launcher is not to be noticed: exit status, signals and Ctrl-C are the command's own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

HOST = (
    "from remora.shim.launcher import process; import os, sys; "
    "process.leave_as(process.run(sys.argv[1:], os.environ))"
)
LISTENER = """
import os, signal, time
def note(number, frame):
    os.write(1, b"got %d\\n" % number)
    os._exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, note)
os.write(1, b"ready\\n")
time.sleep(20)
"""


def launch(*command: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOST, *command], stdout=subprocess.PIPE, text=True, **options
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status_passes_through(status: int) -> None:
    assert launch("sh", "-c", f"exit {status}").wait(20) == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_death_by_signal_passes_through(number: int) -> None:
    assert launch("sh", "-c", f"kill -{int(number)} $$").wait(20) == -number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_launcher_reaches_the_command_once(number: int) -> None:
    with launch(sys.executable, "-c", LISTENER) as run:
        assert run.stdout and run.stdout.readline() == "ready\n"
        run.send_signal(number)
        assert run.stdout.read() == f"got {int(number)}\n"
        assert run.wait(20) == 7


def test_ctrl_c_on_a_terminal_reaches_the_command_once() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", HOST, sys.executable, "-c", LISTENER])
    seen = read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    seen = read_until(terminal, b"got 2")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert seen.count(b"got") == 1
    assert os.waitstatus_to_exitcode(status) == 7


def read_until(terminal: int, mark: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 20
    while mark not in seen and time.monotonic() < end:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
    assert mark in seen, seen
    return seen


def test_a_command_that_is_not_there_says_so() -> None:
    from remora.shim.launcher.process import CannotRun, run

    with pytest.raises(CannotRun, match="no such command") as caught:
        run(["/no/such/program"], os.environ)
    assert caught.value.status == 127
