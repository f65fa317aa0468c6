"""What to run in a guest, the control folder that tells the guest's init, and how the run ends.

Must not know: which kind of guest.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAILED = 125  # exit status when the guest, not the command, failed
TOO_LONG = 124  # when the time limit ended it
GRACE = 5.0  # seconds between asking a guest to end and killing it


@dataclass(frozen=True)
class Request:
    """A command with its surroundings. Paths are the host's, which are the guest's too."""

    command: Sequence[str]
    writable: Sequence[Path] = ()  # folders in which what the command writes is kept
    nics: str = "one"  # one, two or none: see the script `nics`
    seconds: float = 900.0
    memory_mib: int = 3072
    console: bool = False  # show the kernel's messages at the end
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def write_control(folder: Path, request: Request, kind: str) -> None:
    """Fills the control folder. kind stands in $REMORA_GUEST for the command to see."""
    for name in ("init", "qemu-init", "nics"):
        shutil.copy(HERE / name, folder)
    (folder / "nics-wanted").write_text(f"{request.nics}\n")
    (folder / "rw").write_text("".join(f"{path.resolve()}\n" for path in request.writable))
    (folder / "command").write_text(script({**request.environment, "REMORA_GUEST": kind}, request.command))


def script(environment: Mapping[str, str], command: Sequence[str]) -> str:
    """For busybox sh. The program is looked up here: busybox would prefer applets of its own."""
    program = shutil.which(command[0], path=environment.get("PATH")) or command[0]
    exports = [
        f"export {name}={shlex.quote(value)}" for name, value in environment.items() if name.isidentifier()
    ]
    return "\n".join(
        [
            *exports,
            f"cd {shlex.quote(os.getcwd())} || exit {FAILED}",
            f"exec {shlex.join([program, *command[1:]])}",
            "",
        ]
    )


def read_status(folder: Path) -> int | None:
    """The command's exit status, None if the guest ended without one."""
    try:
        return int((folder / "status").read_text())
    except (FileNotFoundError, ValueError):
        return None


def carry_out(request: Request, kind: str, start: Callable[[Path], subprocess.Popen[bytes]]) -> int:
    """The command's exit status, or TOO_LONG, or FAILED with a reason on stderr.

    start gets the control folder and starts the guest, in a session of its own.
    """
    with tempfile.TemporaryDirectory(prefix="remora-guest-") as name:
        control = Path(name)
        write_control(control, request, kind)
        in_time = ended_in_time(start(control), request.seconds)
        status = read_status(control)
        if request.console or (status is None and in_time):
            show(control)
    if not in_time:
        print(f"guest: ended after {request.seconds:g} s", file=sys.stderr)
        return TOO_LONG
    if status is None:
        print("guest: the kernel ended before the command did", file=sys.stderr)
    return FAILED if status is None else status


def ended_in_time(guest: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits for a guest, which has ended in any case when this returns."""
    try:
        guest.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        end(guest)


def end(guest: subprocess.Popen[bytes]) -> None:
    """The guest and every process that it runs its code in."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(guest.pid, number)
            guest.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break


def show(control: Path) -> None:
    """The last of what the kernel said."""
    for name in ("boot", "console"):
        text = (control / name).read_text(errors="replace") if (control / name).exists() else ""
        sys.stderr.write("".join(f"guest: {line}\n" for line in text.splitlines()[-30:]))
