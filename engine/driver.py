"""Which driver library the engine drives, and loading it before anything else can load another.

The engine's processes must never load the shim: their environment is cleaned of its traces, the library is
loaded by absolute path, and cuda.bindings is checked to call into it. Must not know: sessions, leases.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import EngineError

PACKAGE = Path(__file__).resolve().parent  # engine/, wherever the package is installed
SOFTGPU = PACKAGE / "softgpu" / "lib" / "libcuda.so.1"
SHIM = PACKAGE.parent / "shim" / "lib"
NVIDIA_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib",
)
TRACES = (  # of the shim, beside REMORA_* and library paths; and what would make every posted call wait
    "LD_PRELOAD",
    "TRITON_LIBCUDA_PATH",
    "NUMBA_CUDA_DRIVER",
    "CUDA_LAUNCH_BLOCKING",
)
KEPT = ("REMORA_SOFTGPU_", "REMORA_RDMA_", "REMORA_LOG")


@dataclass(frozen=True)
class Library:
    """A driver library: kind nvidia or softgpu."""

    kind: str
    path: Path


class _DlInfo(ctypes.Structure):
    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def find(kind: str) -> Library:
    """The library for --driver auto, nvidia or softgpu. Raises EngineError when there is none."""
    if kind not in ("auto", "nvidia", "softgpu"):
        raise EngineError(f"no driver is called {kind!r}; say auto, nvidia or softgpu")
    if kind != "softgpu":
        path = _nvidia()
        if path and (kind == "nvidia" or _has_device()):
            return Library("nvidia", path)
    if kind == "nvidia":
        raise EngineError(
            "no NVIDIA driver on this machine: libcuda.so.1 was not found; try --driver softgpu"
        )
    if not SOFTGPU.exists():
        raise EngineError(f"the software GPU is not built: {SOFTGPU} is missing; run make build")
    return Library("softgpu", SOFTGPU)


def _has_device() -> bool:
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"))


def _nvidia() -> Path | None:
    for path in [Path(folder) / "libcuda.so.1" for folder in NVIDIA_FOLDERS] + _cached():
        if path.exists() and not _ours(path.resolve()):
            return path.resolve()
    return None


def _cached() -> list[Path]:
    """What the loader's cache knows."""
    try:
        listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, timeout=5).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in listing.splitlines() if line.strip().startswith("libcuda.so.1 ")]
    return [Path(line.rsplit("=> ", 1)[1]) for line in lines if "x86-64" in line or "aarch64" in line.lower()]


def _ours(path: Path) -> bool:
    return SHIM in path.parents or path.is_relative_to(PACKAGE)


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """A copy without what would lead the engine's own processes to the shim."""
    clean = {
        name: value
        for name, value in environment.items()
        if name not in TRACES and not (name.startswith("REMORA_") and not name.startswith(KEPT))
    }
    paths = [
        path for path in clean.pop("LD_LIBRARY_PATH", "").split(":") if path and Path(path).resolve() != SHIM
    ]
    return clean | ({"LD_LIBRARY_PATH": ":".join(paths)} if paths else {})


def load(library: Library) -> None:
    """Loads the library for this process and makes sure that cuda.bindings calls it. Raises EngineError."""
    os.environ.setdefault("REMORA_SOFTGPU_PYTHON", sys.executable)  # runs the software GPU's compile service
    try:
        loaded = ctypes.CDLL(str(library.path), mode=ctypes.RTLD_GLOBAL | os.RTLD_NOW)
    except OSError as error:
        raise EngineError(f"cannot load the driver library {library.path}: {error}") from None
    address = ctypes.cast(loaded.cuInit, ctypes.c_void_p).value
    _check(address, library)
    bound = _bound()
    if bound:
        _check(bound, library)


def _bound() -> int:
    """Address of the cuInit that cuda.bindings calls; 0 when this version of it doesn't tell."""
    try:
        from cuda.bindings._internal import driver as internal

        return int(internal._inspect_function_pointer("__cuInit"))
    except (ImportError, AttributeError):
        return 0


def _check(address: int | None, library: Library) -> None:
    """Raises EngineError unless the address lies in the library."""
    info = _DlInfo()
    process = ctypes.CDLL(None)
    process.dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
    found = process.dladdr(address, ctypes.byref(info)) and info.file
    if not found or Path(os.fsdecode(info.file)).resolve() != library.path.resolve():
        raise EngineError(
            f"cuInit comes from {info.file!r}, not from {library.path}; unset LD_PRELOAD and start again"
        )
