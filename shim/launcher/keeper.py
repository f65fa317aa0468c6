"""Keeps something held (a lease, an engine) for exactly as long as this process lives, whatever it becomes.

A process of its own does the holding, neither our child nor in our session: so we can turn into the program
by exec, and the program's PID, children, signals and exit status are its own. Must not know: what is held.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

Held = Callable[[], AbstractContextManager[dict[str, Any]]]

LOOK_SECONDS = 0.3  # between looks where the kernel has no pidfd


class NotHeld(Exception):
    """It could not be had; str() says why, in one line."""


def keep(held: Held) -> dict[str, Any]:
    """Enters held() in the keeper and returns the facts that it gives (plain JSON).

    The keeper leaves it when the calling process ends. Raises NotHeld with what an exception of held() says.
    """
    read, write = os.pipe()
    caller = os.getpid()
    between = os.fork()
    if between == 0:
        os.setpgid(0, 0)  # the terminal's keys are the caller's
        if os.fork() == 0:
            keeper(held, write, caller)
        os._exit(0)
    os.close(write)
    os.waitpid(between, 0)
    with os.fdopen(read, "rb") as pipe:
        answer = json.loads(pipe.read() or b'{"problem": "the process that keeps the lease died"}')
    if "problem" in answer:
        raise NotHeld(answer["problem"])
    return dict(answer["facts"])


def keeper(held: Held, tell: int, caller: int) -> NoReturn:
    """The life of the keeper. Never returns into the code of the caller."""
    try:
        close_others(tell)
        gone = end_of(caller)
        with held() as facts:
            say(tell, {"facts": facts})
            gone()
    except BaseException as error:
        say(tell, {"problem": str(error) or type(error).__name__})
    finally:
        os._exit(0)


def say(tell: int, answer: dict[str, Any]) -> None:
    """Answers the caller, once, lets go of the terminal: who reads our caller's output must see its end."""
    try:
        os.write(tell, json.dumps(answer).encode())
    except OSError:
        return
    os.close(tell)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)


def close_others(keep_open: int) -> None:
    """Closes what the caller had open, which is none of the keeper's business."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    os.closerange(3, keep_open)
    os.closerange(keep_open + 1, highest + 1)


def end_of(process: int) -> Callable[[], None]:
    """A function that returns when the process has ended."""
    try:
        descriptor = os.pidfd_open(process)
    except OSError:
        started = start_time(process)
        return lambda: look_until_gone(process, started)
    return lambda: select.select([descriptor], [], []) and None


def look_until_gone(process: int, started: str) -> None:
    while started and start_time(process) == started:
        time.sleep(LOOK_SECONDS)


def start_time(process: int) -> str:
    """When the process started, which tells it from a later one of the same number; empty once it is dead."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]
