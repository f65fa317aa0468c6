"""Runs a command under QEMU with Debian's stock kernel, for where the user-mode kernel can't be built.

Code runs 25 times slower than there: KVM is not used, since on rented machines it is often an emulation that
stock kernels die on.

Must not know: what the command does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.rdma.guest import debian, stock
from tests.rdma.guest.request import FAILED, TOO_LONG, Request, read_status, write_control
from tests.rdma.guest.uml import end, show

KIND = "qemu"
PACKAGES = (
    *("qemu-system-x86", "busybox-static", "cpio", "zstd", "xz-utils"),
    *("iproute2", "libibverbs1", "ibverbs-providers", "librdmacm1"),
)
CPUS_MOST = 4
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=1 tsc=reliable no_timer_check "
    "i8042.noaux i8042.nokbd cryptomgr.notests rcupdate.rcu_expedited=1 net.ifnames=0"
)


def prepare(again: bool = False) -> Path:
    """Makes ready what run() needs: kernel and RAM disk. Raises NoGuest."""
    debian.install(*PACKAGES)
    return stock.ensure()


def run(request: Request) -> int:
    """The command's exit status, or TOO_LONG, or FAILED with a reason on stderr. Raises NoGuest."""
    made = prepare()
    with tempfile.TemporaryDirectory(prefix="remora-guest-") as name:
        control = Path(name)
        write_control(control, request, KIND)
        in_time = execute(command_line(made, control, request), request.seconds)
        status = read_status(control)
        if request.console or (status is None and in_time):
            show(control)
        if not in_time:
            print(f"guest: ended after {request.seconds:g} s", file=sys.stderr)
            return TOO_LONG
        if status is None:
            print("guest: the kernel ended before the command did", file=sys.stderr)
        return FAILED if status is None else status


def command_line(made: Path, control: Path, request: Request) -> list[str]:
    cpus = min(os.cpu_count() or 1, CPUS_MOST)
    line = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]
    line += ["-smp", str(cpus), "-m", str(request.memory_mib), "-display", "none"]
    line += ["-nodefaults", "-no-user-config", "-no-reboot"]
    line += ["-kernel", str(made / "vmlinux"), "-initrd", str(made / "initrd"), "-append", KERNEL_ARGUMENTS]
    line += [
        "-serial",
        f"file:{control}/console",
        "-device",
        "virtio-rng-pci",
        "-device",
        "virtio-serial-pci",
    ]
    for number, name in ((3, "out"), (4, "err")):
        line += ["-add-fd", f"fd={number},set={number}"]
        line += ["-chardev", f"file,id={name},path=/dev/fdset/{number},append=on"]
        line += ["-device", f"virtserialport,chardev={name},name={name}"]
    line += shared("root", Path("/"), ",readonly=on") + shared("control", control)
    for number, folder in enumerate(request.writable):
        line += shared(f"rw{number}", folder.resolve())
    return line


def shared(tag: str, folder: Path, more: str = "") -> list[str]:
    """A folder of the host's, offered under a tag."""
    return [
        *("-fsdev", f"local,id={tag},path={folder},security_model=passthrough,multidevs=remap{more}"),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    ]


def execute(command: list[str], seconds: float) -> bool:
    """Runs QEMU with our stdout and stderr as the guest's. False: it took too long."""
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 3>&1 4>&2', "sh", *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        end(process)
