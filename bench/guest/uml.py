"""Runs a command in the user-mode kernel: an ordinary process, no KVM, no QEMU. It has one CPU.

Must not know: what the command does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from remora.bench.guest import debian, kernel
from remora.bench.guest.request import Request, carry_out

KIND = "uml"
PACKAGES = ("busybox-static", "iproute2", "libibverbs1", "ibverbs-providers", "librdmacm1")


def prepare(again: bool = False) -> Path:
    """Makes ready what run() needs: the kernel. Raises NoGuest."""
    debian.install(*PACKAGES)
    return kernel.ensure(again)


def run(request: Request) -> int:
    """As request.carry_out. Raises NoGuest."""
    linux = prepare()
    return carry_out(request, KIND, lambda control: start(command_line(linux, control, request), control))


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


def start(command: list[str], control: Path) -> subprocess.Popen[bytes]:
    """The kernel, with our stdout and stderr as its serial lines."""
    (control / "init").chmod(0o755)
    redirected = [
        "sh",
        "-c",
        'exec "$@" 3>&1 4>&2 5>"$CONTROL/console" >"$CONTROL/boot" 2>&1',
        "sh",
        *command,
    ]
    return subprocess.Popen(
        redirected,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.defpath, "HOME": str(control), "CONTROL": str(control), "TMPDIR": memory_folder()},
        start_new_session=True,
    )


def memory_folder() -> str:
    """The guest's memory is a file. In /dev/shm it never goes to a disk."""
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and shutil.disk_usage(shm).free > 4 << 30
    return str(shm) if roomy else tempfile.gettempdir()
