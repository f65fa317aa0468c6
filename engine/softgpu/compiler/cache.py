"""The cache folder: descriptions and objects by key, one subfolder for each environment that made them.

Private to its user (mode 0700, owner checked), files appear complete (by rename), and the least recently
used ones go when the folder grows beyond its bound. ../kernel_abi.h describes the names and the
`environment` file, through which the driver finds objects without starting Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from remora.engine.softgpu.compiler import abi, native

MAX_BYTES = 512 << 20
KEEP_BYTES = MAX_BYTES * 3 // 4  # what is left after a clean-up, so that it is rare
CHECK_BYTES = 32  # at a file's end: SHA-256 of what is before them


class CacheError(Exception):
    """The folder can't be used; the text says why."""


def default_folder() -> Path:
    """$REMORA_SOFTGPU_CACHE, else $XDG_CACHE_HOME/remora/softgpu, else ~/.cache/remora/softgpu."""
    if folder := os.environ.get("REMORA_SOFTGPU_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "remora" / "softgpu"


def image_key(options: bytes, image: bytes) -> str:
    """The key of an image: SHA-256 of options, a zero byte and the image."""
    digest = hashlib.sha256(options)
    digest.update(b"\0")
    digest.update(image)
    return digest.hexdigest()


def _sources() -> list[Path]:
    return sorted(Path(__file__).parent.rglob("*.py"))


def _llvm_files() -> list[Path]:
    return sorted((Path(llvmlite.__file__).parent / "binding").glob("libllvmlite*"))


def _cpu_line() -> bytes:
    """The first line of /proc/cpuinfo that lists the CPU's features."""
    with open("/proc/cpuinfo", "rb") as file:
        for line in file:
            if line.startswith((b"flags", b"Features")):
                return line.rstrip(b"\n")
    return b""


def environment() -> str:
    """32 hex digits for everything that objects depend on besides the image."""
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(
            source.relative_to(Path(__file__).parent).as_posix().encode() + b"\0" + source.read_bytes()
        )
    features = llvm.get_host_cpu_features().flatten()
    text = (abi.KERNEL_ABI, native.llvm_version(), llvmlite.__version__, llvm.get_host_cpu_name(), features)
    digest.update(repr(text).encode())
    return digest.hexdigest()[:32]


class Cache:
    """One user's cache folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = environment()
        self.fd = self._open_folder()
        self.home = folder / self.environment
        self.home.mkdir(mode=0o700, exist_ok=True)
        self._write(folder / "environment", self._environment_text())
        self.bytes = 0  # in the whole folder
        self.trim()

    def _open_folder(self) -> int:
        """Make the folder if needed; refuse one that others could have prepared."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise CacheError(f"the cache folder {self.folder} can't be used: {error.strerror}") from error
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            os.close(fd)
            raise CacheError(
                f"the cache folder {self.folder} belongs to someone else or others may write to it"
            )
        return fd

    def _environment_text(self) -> bytes:
        lines = [
            f"remora-softgpu {abi.KERNEL_ABI} {self.environment}",
            f"cpu {hashlib.sha256(_cpu_line()).hexdigest()}",
        ]
        for path in _sources() + _llvm_files():
            found = path.stat()
            lines.append(f"file {found.st_mtime_ns} {found.st_size} {path}")
        return ("\n".join(lines) + "\n").encode()

    def description_path(self, key: str) -> Path:
        """Where an image's description is."""
        return self.home / f"{key}.mod"

    def object_path(self, key: str, unit: int) -> Path:
        """Where an object is; unit is a kernel's index or UNIT_FUNCTIONS."""
        return self.home / f"{key}-{'f' if unit == abi.UNIT_FUNCTIONS else unit}.o"

    def get(self, path: Path) -> bytes | None:
        """A file of the cache, marked as used; None when it isn't there or is damaged."""
        try:
            whole = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        data = whole[:-CHECK_BYTES]
        return data if hashlib.sha256(data).digest() == whole[-CHECK_BYTES:] else None

    def put(self, path: Path, data: bytes) -> None:
        """Add a file, then see that the folder stays below its bound."""
        self.home.mkdir(mode=0o700, exist_ok=True)  # someone may have emptied the cache
        self._write(path, data + hashlib.sha256(data).digest())
        self.bytes += len(data) + CHECK_BYTES
        if self.bytes > MAX_BYTES:
            self.trim()

    def _write(self, path: Path, data: bytes) -> None:
        fd, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def trim(self, limit: int = MAX_BYTES, keep: int = KEEP_BYTES) -> None:
        """Remove the least recently used files when there is more than `limit`; leave `keep` bytes."""
        files = self._files()
        self.bytes = sum(size for _, size, _ in files)
        if self.bytes <= limit:
            return
        for _, size, path in sorted(files):
            if self.bytes <= keep:
                return
            path.unlink(missing_ok=True)
            self.bytes -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of every file, of all environments."""
        files = []
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        return files
