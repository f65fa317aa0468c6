"""What to run in a guest, and the control folder that tells the guest's init.

Must not know: which kind of guest.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAILED = 125  # exit status when the guest, not the command, failed
TOO_LONG = 124  # when the time limit ended it


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
