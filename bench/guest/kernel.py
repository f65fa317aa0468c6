"""Builds the user-mode kernel from Debian's sources, once for each configuration, into a cache.

4 minutes on two idle cores. It lies in $XDG_CACHE_HOME/remora/guest under the hash of kernel.config and of
what is named here; a second build of the same waits for the first. Everything runs at the lowest priority, so
that it can go on beside tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remora.bench.guest import NoGuest, debian

SOURCE = "linux-source-6.12"
TOOLS = ("gcc", "make", "flex", "bison", "bc", "perl", "xz-utils", "libc6-dev")
CONFIG = Path(__file__).with_name("kernel.config")
# A quarter of the tree, which a user-mode kernel never reads. Kconfig reads files of most other folders.
LEFT_OUT = ("drivers/gpu/drm/amd/include", "tools/testing")
NEEDED = ("HOSTFS", "OVERLAY_FS", "VETH", "NET_SCH_NETEM", "INFINIBAND_USER_ACCESS", "RDMA_RXE")
FAILURE_HOLDS = 3600.0  # seconds in which a build that failed is not tried again by itself


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "remora", "guest")


def key() -> str:
    """Names one kernel: what it is made from and how."""
    facts = "\0".join([CONFIG.read_text(), SOURCE, *NEEDED])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def find() -> Path | None:
    """The kernel, if it has been built ($REMORA_GUEST_KERNEL names another one)."""
    named = os.environ.get("REMORA_GUEST_KERNEL")
    kernel = Path(named) if named else cache_folder() / f"linux-{key()}"
    return kernel if kernel.is_file() else None


def ensure(again: bool = False) -> Path:
    """The kernel, built when it isn't there. again: also if that failed a while ago. Raises NoGuest."""
    with only_one():
        kernel, failure = find(), cache_folder() / f"linux-{key()}.failed"
        if kernel:
            return kernel
        if not again and failure.exists() and time.time() - failure.stat().st_mtime < FAILURE_HOLDS:
            raise NoGuest(failure.read_text())
        failure.unlink(missing_ok=True)
        try:
            return build(cache_folder() / f"linux-{key()}")
        except NoGuest as error:
            failure.write_text(str(error))
            raise


@contextmanager
def only_one() -> Iterator[None]:
    """Waits until nobody else builds. The lock goes with the process that holds it, however it ends."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(target: Path) -> Path:
    if not shutil.which("dpkg-deb"):
        raise NoGuest("no dpkg: the guest's kernel is built from Debian's source package")
    debian.install(*TOOLS)
    for stale in cache_folder().glob("build-*"):  # of a build that was killed: we hold the lock
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache_folder()) as folder:
        tree = unpack(Path(folder))
        configure(tree)
        step("compiling", ["make", "-s", "ARCH=um", f"-j{os.cpu_count()}", "linux"], tree)
        ready = Path(folder, "linux")
        step("stripping", ["strip", "-o", str(ready), "linux"], tree)
        os.replace(ready, target)
    return target


def unpack(folder: Path) -> Path:
    """Debian's package holds one archive; both are read as streams."""
    package = debian.download(SOURCE, folder)
    leave_out = " ".join(f"--exclude='*/{pattern}'" for pattern in LEFT_OUT)
    archive = f"dpkg-deb --fsys-tarfile {package.name} | tar -xO ./usr/src/{SOURCE}.tar.xz"
    command = f"set -o pipefail; {archive} | tar -xJ {leave_out}"
    step("unpacking", ["bash", "-c", command], folder)
    return folder / SOURCE


def configure(tree: Path) -> None:
    merge = ["scripts/kconfig/merge_config.sh", "-m", "-O", ".", ".config", str(CONFIG)]
    step("configuring", ["make", "-s", "ARCH=um", "tinyconfig"], tree)
    step("configuring", ["env", "ARCH=um", *merge], tree)
    step("configuring", ["make", "-s", "ARCH=um", "olddefconfig"], tree)
    kept = (tree / ".config").read_text().splitlines()
    lost = [name for name in NEEDED if f"CONFIG_{name}=y" not in kept]
    if lost:
        raise NoGuest(f"the kernel's configuration lost {', '.join(lost)}")


def step(what: str, command: list[str], folder: Path) -> None:
    """Runs a part of the build, below everything else on this machine."""
    gentle = ["nice", "-n", "19", *(["chrt", "--idle", "0"] if shutil.which("chrt") else [])]
    process = subprocess.Popen(
        [*gentle, *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"LC_ALL": "C", "MAKEFLAGS": ""},
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if process.returncode:
        raise NoGuest(f"{what} the guest's kernel failed: {debian.last_line(output)}")
