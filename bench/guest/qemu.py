"""Runs a command under QEMU with Debian's stock kernel, for where the user-mode kernel can't be built.

Code runs 25 times slower than there: KVM is not used, since on rented machines it is often an emulation that
stock kernels die on.

Must not know: what the command does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from remora.bench.guest import debian, stock
from remora.bench.guest.request import Request, carry_out

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
    """As request.carry_out. Raises NoGuest."""
    made = prepare()
    return carry_out(request, KIND, lambda control: start(command_line(made, control, request)))


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


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """QEMU, with our stdout and stderr as the guest's."""
    return subprocess.Popen(
        ["sh", "-c", 'exec "$@" 3>&1 4>&2', "sh", *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
