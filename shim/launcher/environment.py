"""What a program's environment must say so that it finds our libcuda.so.1 and nobody else's.

Must not know: how a lease is got, or how a process is run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

SHIM_FOLDER = Path(__file__).resolve().parents[1] / "lib"
SOFTGPU_FOLDER = Path(__file__).resolve().parents[2] / "engine" / "softgpu" / "lib"

PTXAS = str(Path(__file__).resolve().with_name("ptxas"))

# The software GPU compiles PTX. Clients that would hand it machine code must be told to send PTX instead.
# Numba needs no setting: without nvJitLink it sends PTX, and it has none to pass over one that is installed.
PTX_SETTINGS = {
    "CUPY_COMPILE_WITH_PTX": "1",
    # Triton runs an assembler itself: which of the two depends on the device's compute capability.
    "TRITON_PTXAS_PATH": PTXAS,
    "TRITON_PTXAS_BLACKWELL_PATH": PTXAS,
}

# Warp makes PTX only for a driver as new as its own toolkit: newer than all of CUDA 13. The driver has 13.0's
# calls, so programs are told more than that only where Warp is installed.
WARP_SETTINGS = {"REMORA_DRIVER_VERSION": "13090"}

# Variables that the shim reads. REMORA_STATS (a folder) and REMORA_LOG may also be the user's own wish.
OURS = ("REMORA_SERVER", "REMORA_TICKET", "REMORA_STATS", "REMORA_LOG")


def use_library(base: Mapping[str, str], folder: Path) -> dict[str, str]:
    """base, with folder's libcuda.so.1 found first by the loader, Triton and Numba."""
    environment = dict(base)
    rest = environment.get("LD_LIBRARY_PATH", "")
    environment["LD_LIBRARY_PATH"] = f"{folder}:{rest}" if rest else str(folder)
    environment["TRITON_LIBCUDA_PATH"] = str(folder)
    environment["NUMBA_CUDA_DRIVER"] = str(folder / "libcuda.so.1")
    return environment


def prefer_ptx(environment: dict[str, str]) -> list[str]:
    """Adds the settings that make clients send PTX, unless the user chose otherwise; returns the added."""
    wanted = PTX_SETTINGS | (WARP_SETTINGS if find_spec("warp") else {})
    added = {name: value for name, value in wanted.items() if name not in environment}
    environment.update(added)
    return [f"{name}={value}" for name, value in added.items()]


def for_remote(
    base: Mapping[str, str], *, server: str, ticket: str, stats: Path | None = None
) -> dict[str, str]:
    """The environment of a program whose GPUs are at server (HOST:PORT); ticket names its lease."""
    environment = use_library(base, SHIM_FOLDER) | {"REMORA_SERVER": server, "REMORA_TICKET": ticket}
    if stats:
        environment["REMORA_STATS"] = str(stats)
    return environment


def for_softgpu(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that loads the software GPU itself, with nothing of Remora between."""
    environment = use_library(base, SOFTGPU_FOLDER)
    environment.setdefault("REMORA_SOFTGPU_PYTHON", sys.executable)
    prefer_ptx(environment)
    return environment
