"""Runs a command in the user-mode kernel: an ordinary process, no KVM, no QEMU. It has one CPU.

Must not know: what the command does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.rdma.guest import debian, kernel
from tests.rdma.guest.request import FAILED, TOO_LONG, Request, read_status, write_control

KIND = "uml"
PACKAGES = ("busybox-static", "iproute2", "libibverbs1", "ibverbs-providers", "librdmacm1")
GRACE = 5.0  # seconds between asking the kernel to end and killing it


def prepare(again: bool = False) -> Path:
    """Makes ready what run() needs: the kernel. Raises NoGuest."""
    debian.install(*PACKAGES)
    return kernel.ensure(again)


def run(request: Request) -> int:
    """The command's exit status, or TOO_LONG, or FAILED with a reason on stderr. Raises NoGuest."""
    linux = prepare()
    with tempfile.TemporaryDirectory(prefix="remora-guest-") as name:
        control = Path(name)
        write_control(control, request, KIND)
        in_time = execute(command_line(linux, control, request), control, request.seconds)
        status = read_status(control)
        if request.console or (status is None and in_time):
            show(control)
        if not in_time:
            print(f"guest: ended after {request.seconds:g} s", file=sys.stderr)
            return TOO_LONG
        if status is None:
            print("guest: the kernel ended before the command did", file=sys.stderr)
        return FAILED if status is None else status


def command_line(linux: Path, control: Path, request: Request) -> list[str]:
    # The kernel and the processes that it traces switch 4 to 5 times faster on one CPU.
    one_cpu = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    return [
        *one_cpu,
        str(linux),
        f"mem={request.memory_mib}M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={control}/init",
        f"control={control}",
        *("con=null", "con0=null,fd:5", "ssl0=null,fd:3", "ssl1=null,fd:4"),
        "quiet",
        "panic=-1",
    ]


def execute(command: list[str], control: Path, seconds: float) -> bool:
    """Runs the kernel with our stdout and stderr as its serial lines. False: it took too long."""
    (control / "init").chmod(0o755)
    redirected = [
        "sh",
        "-c",
        'exec "$@" 3>&1 4>&2 5>"$CONTROL/console" >"$CONTROL/boot" 2>&1',
        "sh",
        *command,
    ]
    process = subprocess.Popen(
        redirected,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.defpath, "HOME": str(control), "CONTROL": str(control), "TMPDIR": memory_folder()},
        start_new_session=True,
    )
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """The kernel and every process that it runs its guests' code in."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break


def memory_folder() -> str:
    """The guest's memory is a file. In /dev/shm it never goes to a disk."""
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and shutil.disk_usage(shm).free > 4 << 30
    return str(shm) if roomy else tempfile.gettempdir()


def show(control: Path) -> None:
    for name in ("boot", "console"):
        text = (control / name).read_text(errors="replace") if (control / name).exists() else ""
        sys.stderr.write("".join(f"guest: {line}\n" for line in text.splitlines()[-30:]))
