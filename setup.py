"""Builds what packaging tools cannot guess: the Cython modules and two C libraries called libcuda.so.1.

The project's metadata is in pyproject.toml. `python setup.py build_ext --inplace` rebuilds only what changed;
a wheel or an editable install runs the same command. Compiler: $CC or gcc. Extra flags: $REMORA_CFLAGS.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
BUILD = Path("build")
INCLUDES = [
    ".",
    "transport",
    "shim/generated",
    "shim/generated/include",
    "shim/runtime",
    "engine",
    "engine/include",
    "engine/generated",
    "engine/softgpu",
]
LINK = [
    "-shared",
    "-pthread",
    "-Wl,-soname,libcuda.so.1",
    "-Wl,-z,defs",
    "-Wl,-z,now",
    "-Wl,-z,nodelete",
    "-Wl,-Bsymbolic",
]
# In both driver libraries.
SHARED = tuple(f"shim/runtime/{part}.c" for part in ("advice", "batch", "integrity", "md2"))
QUIET = ["-Wno-unused-function", "-Wno-sign-compare", "-Wno-maybe-uninitialized"]  # of what Cython writes
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
COMPILE = ["-std=gnu11", "-O2", "-g", "-fPIC", "-fvisibility=hidden", "-pthread", *WARNINGS]


def files(*patterns: str) -> list[str]:
    """Paths from the repository's root, sorted, so that builds are repeatable."""
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in ROOT.glob(pattern))


@dataclass
class Library:
    """A C library that programs load as libcuda.so.1: no Python in it, nothing but libc beneath it."""

    package: str  # the import package whose lib/ folder receives it
    sources: list[str]
    version_script: str | None
    flags: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    @property
    def source_folder(self) -> Path:
        return Path(*self.package.split(".")[1:])

    def compile(self, source: str) -> Path:
        """One object file, made only when it is older than its source or a header it read last time."""
        target = BUILD / "native" / self.package / (source.replace("/", "_") + ".o")
        command = [*compiler(), *COMPILE, *self.flags, *includes(), "-MMD", "-c", source, "-o", str(target)]
        if not is_current(target, command):
            target.parent.mkdir(parents=True, exist_ok=True)
            execute(command, source)
            target.with_suffix(".cmd").write_text(shlex.join(command))
        return target

    def link(self, objects: list[Path], folder: Path) -> Path:
        """libcuda.so.1 in folder, and the name libcuda.so beside it."""
        target = folder / "libcuda.so.1"
        script = [f"-Wl,--version-script={self.version_script}"] if self.version_script else []
        command = [*compiler(), *LINK, *script, *map(str, objects), "-o", str(target), "-ldl", *self.links]
        inputs = [*objects, *map(Path, filter(None, [self.version_script]))]
        newest = max(path.stat().st_mtime for path in inputs)
        notes = BUILD / "native" / self.package / "link.cmd"
        same = notes.exists() and notes.read_text() == shlex.join(command)
        if not (same and target.exists() and target.stat().st_mtime > newest):
            folder.mkdir(parents=True, exist_ok=True)
            execute(command, target)
            notes.write_text(shlex.join(command))
        name = folder / "libcuda.so"
        name.unlink(missing_ok=True)
        name.symlink_to("libcuda.so.1")
        return target


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "gcc"))


def includes() -> list[str]:
    extra = shlex.split(os.environ.get("REMORA_CFLAGS", ""))
    return [f"-I{folder}" for folder in INCLUDES if Path(folder).is_dir()] + extra


def is_current(target: Path, command: list[str]) -> bool:
    """Whether target was made by this very command and is newer than all that it was made from."""
    notes, rules = target.with_suffix(".cmd"), target.with_suffix(".d")
    if not (
        target.exists() and notes.exists() and rules.exists() and notes.read_text() == shlex.join(command)
    ):
        return False
    inputs = rules.read_text().replace("\\\n", " ").split(":", 1)[1].split()
    made = target.stat().st_mtime
    return all(Path(p).exists() and Path(p).stat().st_mtime < made for p in inputs)


def execute(command: list[str], what: object) -> None:
    print(f"  {command[0]} {what}", flush=True)
    if subprocess.run(command).returncode:
        raise SystemExit(f"remora: this failed: {shlex.join(command)}")


def first(*candidates: str) -> str | None:
    return next((c for c in candidates if Path(c).exists()), None)


def libraries() -> list[Library]:
    """The shim and the software GPU; one whose sources are not there is left out."""
    softgpu_parts = files("shim/generated/softgpu*.c", "engine/generated/softgpu*.c")
    shim_parts = files("shim/runtime/*.c", "shim/generated/*.c", "transport/*.c")
    shim = [s for s in shim_parts if s not in softgpu_parts and not Path(s).name.startswith("_")]
    softgpu_map = first(
        "engine/softgpu/softgpu.map",
        "engine/generated/softgpu.map",
        "shim/generated/softgpu.map",
        "shim/generated/libcuda.map",
    )
    found = [
        Library("remora.shim", shim, first("shim/generated/libcuda.map")),
        Library(
            "remora.engine.softgpu",
            files("engine/softgpu/*.c", *SHARED) + softgpu_parts,
            softgpu_map,
            links=["-lm"],
        ),
    ]
    return [library for library in found if files(f"{library.source_folder}/**/*.c")]


def cython_modules() -> list[Extension]:
    """Every .pyx of transport/ and engine/; its extra C sources stand in it: `# distutils: sources = ...`,
    or `# whole folders: ...` for all that lie there."""
    headers = files(
        "transport/**/*.h", "shim/generated/*.h", "engine/**/*.h", "transport/*.pxi", "engine/**/*.pxi"
    )
    return [
        Extension(
            "remora." + source.removesuffix(".pyx").replace("/", "."),
            ["remora/" + source, *whole_folders(source)],
            include_dirs=[folder for folder in INCLUDES if Path(folder).is_dir()],
            depends=headers,
            extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden", "-pthread", *QUIET],
            extra_link_args=["-pthread"],
        )
        for source in files("transport/**/*.pyx", "engine/**/*.pyx")
    ]


def whole_folders(source: str) -> list[str]:
    """The C files that a .pyx asks for by folder, in its first line."""
    first_line = Path(source).read_text().partition("\n")[0]
    _, _, folders = first_line.partition("# whole folders: ")
    return files(*(f"{folder}/*.c" for folder in folders.split()))


def translated(module: Extension) -> Extension:
    """The module with C in place of Cython, and with what its own comments ask for."""
    from Cython.Build import cythonize

    directives = {"language_level": 3, "embedsignature": True}
    return cythonize(
        [module],
        build_dir=str(BUILD / "cython" / str(sys.implementation.cache_tag)),
        compiler_directives=directives,
        quiet=True,
    )[0]


class Build(build_ext):
    """build_ext, and the C libraries into the same place: the source tree or the wheel."""

    def run(self) -> None:
        self.parallel: int | None = self.parallel or os.cpu_count()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for library in libraries():
                package = Path(self.build_lib, *library.package.split("."))
                folder = library.source_folder if self.inplace else package
                library.link(list(pool.map(library.compile, library.sources)), folder / "lib")
        super().run()

    def build_extension(self, ext: Extension) -> None:
        for name, value in vars(translated(ext)).items():
            if name in ("sources", "include_dirs", "define_macros", "libraries", "extra_compile_args"):
                setattr(ext, name, value)
        super().build_extension(ext)


os.chdir(ROOT)
setup(ext_modules=cython_modules(), cmdclass={"build_ext": Build})
