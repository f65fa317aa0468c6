"""Finds a CUDA compiler and builds the test programs with it, each once for each change.

The machine's own nvcc is used where there is one ($REMORA_NVCC, PATH, /usr/local/cuda*). Elsewhere PyPI's
wheels (the extra `nvcc`) are completed into a toolkit that links. REMORA_NO_SYSTEM_NVCC=1 pretends that it
has none.
Must not know: Remora. What it builds are plain CUDA programs.

    python -m tests.programs.toolchain            says which nvcc is used; assembles the wheels' if it must
    python -m tests.programs.toolchain --system   the machine's own only; exit status 1 when there is none
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "programs"


class NoCompiler(RuntimeError):
    """No nvcc was found and none could be assembled."""


def system_nvcc() -> Path | None:
    """The machine's own nvcc, else None."""
    if os.environ.get("REMORA_NO_SYSTEM_NVCC"):
        return None
    named = os.environ.get("REMORA_NVCC")
    if named:
        return Path(named)
    folders = [Path(p) for p in os.environ.get("PATH", "").split(":") if p]
    folders += sorted(Path("/usr/local").glob("cuda*/bin"), reverse=True)
    here = Path(sys.prefix).resolve()
    return next(
        (f / "nvcc" for f in folders if (f / "nvcc").is_file() and here not in f.resolve().parents), None
    )


def wheel_nvcc() -> Path | None:
    """nvcc out of the wheels, with the two links that they lack and the linker wants; else None."""
    toolkit = Path(sysconfig.get_path("purelib"), "nvidia", "cu13")
    if not (toolkit / "bin" / "nvcc").is_file():
        return None
    link(toolkit / "lib64", "lib")
    for versioned in (toolkit / "lib").glob("libcudart.so.*"):
        link(toolkit / "lib" / "libcudart.so", versioned.name)
    return toolkit / "bin" / "nvcc"


def link(name: Path, target: str) -> None:
    if not name.exists():
        name.unlink(missing_ok=True)
        name.symlink_to(target)


@cache
def nvcc() -> Path:
    """The compiler to use. Raises NoCompiler."""
    found = system_nvcc() or wheel_nvcc()
    if not found:
        raise NoCompiler("no nvcc: install a CUDA toolkit, or the wheels with pip install 'remora[nvcc]'")
    return found


def cudart_folder() -> Path:
    """Where the shared CUDA runtime of this toolkit lies, for programs that link it."""
    toolkit = nvcc().resolve().parents[1]
    return next(
        (f for f in (toolkit / "lib64", toolkit / "lib") if any(f.glob("libcudart.so.*"))), toolkit / "lib"
    )


def build(source: Path, *flags: str) -> Path:
    """The program made from one .cu or .c file; kept under build/programs, named by all that went into it."""
    command = [str(nvcc()), "-std=c++17", "-O2", "-Wno-deprecated-gpu-targets", *flags, str(source)]
    if "shared" in flags:
        command += ["-Xlinker", f"-rpath={cudart_folder()}"]
    parts = [
        source.read_bytes(),
        *(h.read_bytes() for h in sorted(source.parent.glob("*.h"))),
        " ".join(command).encode(),
    ]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    target = OUTPUT / f"{source.stem}-{key}"
    if not target.exists():
        OUTPUT.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}")
        run = subprocess.run([*command, "-o", str(fresh)], capture_output=True, text=True, timeout=300)
        if run.returncode:
            raise RuntimeError(f"nvcc could not build {source.name}:\n{run.stdout}{run.stderr}")
        fresh.rename(target)
    return target


def main() -> int:
    if "--system" in sys.argv[1:]:
        found = system_nvcc()
        print(found or "none")
        return 0 if found else 1
    try:
        print(f"remora: CUDA programs are compiled with {nvcc()}")
    except NoCompiler as error:
        print(f"remora: {error}", file=sys.stderr)
        return 1
    if not shutil.which("g++"):
        print("remora: nvcc needs g++, which is not on PATH", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
