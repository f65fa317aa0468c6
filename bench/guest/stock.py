"""Debian's stock kernel for the guest under QEMU: the kernel and the few modules it needs, in a RAM disk.

Nothing is compiled: a download of 100 MB, once, into the same cache as the user-mode kernel's.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from remora.bench.guest import NoGuest, debian, kernel

META = "linux-image-6.12-amd64"  # the cloud kernels have neither rxe nor 9p
HERE = Path(__file__).resolve().parent
# In the order in which they are loaded. One that is not a module in this kernel is built into it.
MODULES = (HERE / "modules").read_text().split()
MAGIC = {b"\x28\xb5\x2f\xfd": ["zstd", "-dc"], b"\xfd7zXZ\0": ["xz", "-dc"], b"\x1f\x8b": ["gzip", "-dc"]}


def ensure() -> Path:
    """The folder with vmlinux and initrd, made when it isn't there. Raises NoGuest."""
    with kernel.only_one():
        target = kernel.cache_folder() / f"stock-{key()}"
        if target.is_dir():
            return target
        with tempfile.TemporaryDirectory(prefix="build-", dir=kernel.cache_folder()) as name:
            made = assemble(Path(name))
            os.replace(made, target)
        return target


def key() -> str:
    facts = "\0".join([META, *MODULES, (HERE / "ramdisk-init").read_text()])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def assemble(folder: Path) -> Path:
    package = debian.download(image_package(), folder)
    files, made = folder / "files", folder / "made"
    for new in (files, made, folder / "disk" / "bin", folder / "disk" / "m"):
        new.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "-x", package, files], check=True)
    image = next(files.glob("boot/vmlinuz-*"))
    (made / "vmlinux").write_bytes(unpacked(image.read_bytes()))
    collect_modules(files, folder / "disk" / "m")
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(busybox, folder / "disk" / "bin" / "busybox")
    shutil.copy(HERE / "ramdisk-init", folder / "disk" / "init")
    (folder / "disk" / "init").chmod(0o755)
    archive = "find . | cpio -o -H newc --quiet"
    with (made / "initrd").open("wb") as file:
        subprocess.run(["sh", "-c", archive], cwd=folder / "disk", stdout=file, check=True)
    return made


def image_package() -> str:
    """The package that the meta package stands for. Raises NoGuest."""
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = subprocess.run(["apt-cache", "depends", META], capture_output=True, text=True).stdout
        found = re.search(r"Depends: (linux-image-\S+)", told)
        if found:
            return found[1]
    raise NoGuest(f"apt knows no {META}")


def collect_modules(files: Path, target: Path) -> None:
    """The modules, unpacked, and their order."""
    there = {path.name.split(".ko")[0]: path for path in files.rglob("*.ko*")}
    order = [name for name in MODULES if name in there]
    if "rdma_rxe" not in order:
        raise NoGuest(f"{META} has no Soft-RoCE")
    for name in order:
        content = there[name].read_bytes()
        (target / f"{name}.ko").write_bytes(
            lzma.decompress(content) if there[name].suffix == ".xz" else content
        )
    (target / "order").write_text("".join(f"{name}\n" for name in order))


def unpacked(image: bytes) -> bytes:
    """The ELF kernel in a bzImage, so that the guest need not unpack it. The layout is that of the kernel's
    Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset and _length at 0x248."""
    start = ((image[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset :][:length]
    for magic, tool in MAGIC.items():
        if payload.startswith(magic):
            # Its own length stands behind it, about which the tools complain.
            elf = subprocess.run(
                tool, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ).stdout
            if elf.startswith(b"\x7fELF"):
                return elf
    raise NoGuest(f"{META}'s kernel is packed in an unknown way")
