"""Builds what the protocol's tests run: C programs of generated code, the dispatch around a fake session.

All is compiled from the checkout into a folder of the test run; needs a C compiler, Cython and flatc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "shim" / "generated"
CASES = ROOT / "tests" / "protocol" / "generated"
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC"]


def run(*command: str | Path, **options: object) -> str:
    """What a command prints; its own words when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def compile_c(output: Path, *sources: Path, options: list[str] | None = None, root: Path = ROOT) -> Path:
    run("gcc", *STRICT, f"-I{root}", *(options or []), *sources, "-o", output)
    return output


def frames(output: Path, root: Path = ROOT) -> Path:
    """The program that prints what every stub puts into the ring."""
    sources = root / "tests/protocol/generated/frames.c", root / "shim/generated/stubs.c"
    return compile_c(output, *sources, root=root)


def recorder(output: Path, root: Path = ROOT) -> Path:
    """A driver library behind the shim's exports whose calls note their arguments."""
    sources = [root / "shim/generated" / f"{name}.c" for name in ("exports", "procs", "errors", "symbols")]
    options = ["-shared", "-fvisibility=hidden", "-Wl,-Bsymbolic"]
    return compile_c(
        output, root / "tests/protocol/generated/recorder.c", *sources, options=options, root=root
    )


def readers(folder: Path, schema: Path = GENERATED / "calls.fbs") -> Path:
    """The folder of Python readers that flatc makes from the schema."""
    flatc = shutil.which("flatc") or Path(sys.executable).parent / "flatc"
    run(flatc, "--python", "-o", folder, schema)
    return folder


# ---- the generated dispatch, around a session that notes what it is asked

DECLARATIONS_HEAD = '''from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from cuda.bindings.cydriver cimport *
from remora.engine.generated.records cimport *

cdef extern from *:
    """typedef struct Session Session;"""
    ctypedef struct Session:
        pass

ctypedef struct Call:
    const rm_record *record
    const uint8_t *bytes
    uint32_t byte_count
    uint8_t *answer
    uint32_t answer_room
    uint32_t answer_bytes

cdef int32_t check_range(Session *s, uint64_t ptr, uint64_t bytes) noexcept nogil
'''
BODIES_HEAD = """# cython: language_level=3
from libc.string cimport memset, strcpy

FORGED, OUTSIDE = 999, 666
cdef char last_name[64]
cdef uint64_t checked[2]

def last():
    return last_name.decode()

def last_range():
    return checked[0], checked[1]

def forget():
    memset(last_name, 0, 64)

cdef int32_t check_range(Session *s, uint64_t ptr, uint64_t bytes) noexcept nogil:
    checked[0] = ptr
    checked[1] = bytes
    return CUDA_ERROR_INVALID_VALUE if ptr == 666 else 0
"""
FINDERS = {
    "find_stream": "CUstream",
    "find_event": "CUevent",
    "find_module": "CUmodule",
    "find_library": "CUlibrary",
    "find_kernel": "CUfunction",
    "find_context": "CUcontext",
    "find_device": "CUdevice",
}
PROBE = """# cython: language_level=3
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from remora.engine.generated.dispatch cimport dispatch
from remora.engine.generated.records cimport *
from remora.engine.session cimport Call, Session

def run(bytes record, answer_room=65536):
    cdef Call call
    cdef uint8_t *room = <uint8_t *>calloc(1, 65536 + 64)
    cdef uint8_t *copy = <uint8_t *>calloc(1, len(record) + 64)
    memcpy(copy, <const char *>record, len(record))
    call.record = <rm_record *>copy
    call.answer, call.answer_room, call.answer_bytes = room, answer_room, 0
    cdef int status
    with nogil:
        status = dispatch(NULL, &call)
    answer = room[:call.answer_bytes]
    free(room)
    free(copy)
    return status, answer
"""


def fake_session(dispatch: str, records: str) -> tuple[str, str]:
    """(.pxd, .pyx) of what the dispatch imports: look-ups that find the id itself, handlers that note."""
    names = re.findall(r"^    (find_\w+|h_\w+),$", dispatch, re.M)
    heads = {n: finder(n) if n in FINDERS else handler(n, records) for n in names}
    bodies = "".join(f"\n{heads[n]}:\n{finder_body(n) if n in FINDERS else handler_body(n)}" for n in names)
    return DECLARATIONS_HEAD + "".join(f"{head}\n" for head in heads.values()), BODIES_HEAD + bodies


def finder(name: str) -> str:
    id = "int32_t" if name == "find_device" else "uint64_t"
    return f"cdef int32_t {name}(Session *s, const Call *c, {id} id, {FINDERS[name]} *out) noexcept nogil"


def finder_body(name: str) -> str:
    return f"    out[0] = <{FINDERS[name]}>id\n    return CUDA_ERROR_INVALID_HANDLE if id == 999 else 0\n"


def handler(name: str, records: str) -> str:
    q, a = f"rm_q_{name[2:]}", f"rm_a_{name[2:]}"
    request = f", const {q} *q" if f"struct {q}:" in records else ""
    answer = f", {a} *a" if f"struct {a}:" in records else ""
    return f"cdef int32_t {name}(Session *s, Call *c{request}{answer}) noexcept nogil"


def handler_body(name: str) -> str:
    return f'    strcpy(last_name, "{name}")\n    return 0\n'


def dispatch_package(folder: Path, root: Path = ROOT) -> Path:
    """A package `remora` in folder whose dispatch is root's generated one and whose session is fake."""
    package = folder / "remora" / "engine"
    (package / "generated").mkdir(parents=True)
    for init in (folder / "remora", package, package / "generated"):
        (init / "__init__.py").touch()
    for name in ("dispatch.pyx", "dispatch.pxd", "records.pxd"):
        shutil.copy(root / "engine/generated" / name, package / "generated" / name)
    texts = [(root / "engine/generated" / name).read_text() for name in ("dispatch.pyx", "records.pxd")]
    for suffix, text in zip(("pxd", "pyx"), fake_session(*texts), strict=True):
        (package / f"session.{suffix}").write_text(text)
    (package / "probe.pyx").write_text(PROBE)
    modules = ["session", "probe", "generated/dispatch"]
    for process in [build_module(folder, package / name, root) for name in modules]:
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    return folder


def build_module(folder: Path, module: Path, root: Path) -> subprocess.Popen[str]:
    """Starts Cython and gcc on one module."""
    ops = f"{root}/shim/generated/ops.c" if module.name == "dispatch" else ""
    include = f"-I{root} -I{root}/shim/generated/include -I{sysconfig.get_paths()['include']}"
    output = f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}"
    script = (
        f"{sys.executable} -m cython -3 -I {folder} {module}.pyx -o {module}.c && "
        f"gcc -shared -fPIC -O1 -w {include} {module}.c {ops} -o {output}"
    )
    pipe = subprocess.PIPE
    return subprocess.Popen(
        ["sh", "-c", script], stdout=pipe, stderr=subprocess.STDOUT, text=True, cwd=folder
    )


def dispatch_program(part: str, package: Path, driver: Path, cases: Path = CASES) -> None:
    """Runs one part of dispatch_program.py with a driver of its own; all it prints is what went wrong."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver.parent), "CASES": str(cases)}
    program = ROOT / "tests/protocol/dispatch_program.py"
    out = run(sys.executable, program, package, part, env=environment, cwd=package)
    assert out == f"done {part}\n"
