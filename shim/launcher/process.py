"""Runs one command as if nothing stood before it: its signals, its exit status, its terminal.

Signals from the terminal reach the command by themselves (same process group); those sent to us alone are
passed on. Must not know: GPUs, servers, leases.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

PASSED_ON = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGWINCH,
}
WAITED_FOR = PASSED_ON | {signal.SIGCHLD}
LOOK_SECONDS = 0.05  # how often `watch` is called


class CannotRun(Exception):
    """The command could not be started. str() is for people; status is what a shell would answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(
    command: Sequence[str], environment: Mapping[str, str], watch: Callable[[int], None] | None = None
) -> int:
    """Runs command to its end and returns its wait status (see os.waitstatus_to_exitcode).

    watch(pid), if given, is called every LOOK_SECONDS while the command runs. Raises CannotRun.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    try:
        child = start(command, environment, before)
        while True:
            status = next_event(child, watch)
            if status is not None:
                return status
    finally:
        drain()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(command: Sequence[str], environment: Mapping[str, str], mask: set[int]) -> int:
    """The pid of the started command, which gets the signal mask that we had."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        return os.posix_spawnp(
            command[0],
            list(command),
            environment,
            setsigmask=mask,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except FileNotFoundError:
        raise CannotRun(f"{command[0]}: no such command", 127) from None
    except OSError as error:
        raise CannotRun(f"{command[0]}: {error.strerror}", 126) from None


def next_event(child: int, watch: Callable[[int], None] | None) -> int | None:
    """Waits for one signal, or a moment when there is something to watch. The wait status at the end."""
    event = signal.sigtimedwait(WAITED_FOR, LOOK_SECONDS) if watch else signal.sigwaitinfo(WAITED_FOR)
    if event is None:
        assert watch
        watch(child)
    elif event.si_signo == signal.SIGCHLD:
        pid, status = os.waitpid(child, os.WNOHANG)
        return status if pid else None
    elif event.si_code <= 0:  # sent by a process to us alone; a terminal's signals have a positive code
        os.kill(child, event.si_signo)
    return None


def drain() -> None:
    """Forgets signals that came for the command after its end."""
    while signal.sigtimedwait(WAITED_FOR, 0):
        pass


def leave_as(status: int) -> NoReturn:
    """Ends this process the way the command ended: same exit status, or death by the same signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.waitstatus_to_exitcode(status))
