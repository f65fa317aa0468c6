"""Ordinary CUDA programs that check themselves: on the software GPU itself, and through `remora run`.

Each is one .cu file in programs/, says PASSED or FAILED in its last line and in its exit status. A first line
`// flags: ...` names what nvcc needs for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.programs import harness, toolchain

PROGRAMS = Path(__file__).with_name("programs")
NAMES = sorted(source.stem for source in PROGRAMS.glob("*.cu"))
SECONDS = 30  # a program takes less than two
SETTINGS = {"REMORA_SOFTGPU_DEVICES": "2", "REMORA_SOFTGPU_MEMORY_MIB": "1024"}
COMPILERS = 2  # at once: each takes a core and several hundred MiB

# What the driver writes to a program's standard error, wherever the driver is.
SAYS = {"errors": "Assertion `x > 5` failed."}

# What does not hold yet, and why: (program, how it is run) -> reason. A program that passes nevertheless
# fails the test, so that its line is removed.
KNOWN_FAULTS: dict[tuple[str, str], str] = {}


def cases() -> list[object]:
    return [
        pytest.param(name, how, id=f"{name}-{how}", marks=marks(name, how))
        for name in NAMES
        for how in ("direct", "remote")
    ]


def marks(name: str, how: str) -> list[pytest.MarkDecorator]:
    reason = KNOWN_FAULTS.get((name, how))
    return [pytest.mark.xfail(strict=True, reason=reason)] if reason else []


def flags(source: Path) -> list[str]:
    """What the program's first line asks for; machine code for real GPUs is left out, to compile faster."""
    first = source.read_text().split("\n", 1)[0]
    own = first.removeprefix("// flags:").split() if first.startswith("// flags:") else []
    return own if any(flag.startswith("-arch") for flag in own) else ["-arch=compute_75", *own]


def compile_program(name: str) -> Path:
    source = PROGRAMS / f"{name}.cu"
    return toolchain.build(source, *flags(source))


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Path]]]:
    """The executables of all programs that were asked for, being compiled while the first already run."""
    wanted = {
        item.callspec.params["name"]
        for item in request.session.items
        if getattr(item, "callspec", None) and "name" in item.callspec.params and item.path == request.path
    }
    with ThreadPoolExecutor(COMPILERS) as pool:
        yield {name: pool.submit(compile_program, name) for name in NAMES if name in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    with harness.server(tmp_path_factory.mktemp("server"), **SETTINGS) as running:
        yield running


@pytest.mark.parametrize(("name", "how"), cases())
def test_sample(
    request: pytest.FixtureRequest,
    programs: dict[str, Future[Path]],
    tmp_path: Path,
    name: str,
    how: str,
) -> None:
    end = run(request, programs[name].result(), tmp_path, how)
    assert end.status == 0 and end.output.endswith("PASSED\n"), (
        f"exit status {end.status}\n{end.output}\n{end.errors}"
    )
    assert SAYS.get(name, "") in end.errors


def run(request: pytest.FixtureRequest, program: Path, folder: Path, how: str) -> harness.Result:
    if how == "remote":
        running: harness.Server = request.getfixturevalue("server")
        return running.run([str(program)], folder, options=["-n", "2"], seconds=SECONDS)
    settings = harness.environment.for_softgpu(harness.clean_environment(**SETTINGS))
    return harness.finish([str(program)], settings, folder, SECONDS)


@pytest.mark.parametrize("how", ["direct", "remote"])
def test_why_an_image_is_refused_is_said(request: pytest.FixtureRequest, tmp_path: Path, how: str) -> None:
    machine_code = toolchain.build(PROGRAMS / "transpose.cu", "-gencode=arch=compute_90,code=sm_90")
    end = run(request, machine_code, tmp_path, how)
    assert end.status and "cudaErrorNoKernelImageForDevice" in end.output
    assert "machine code of real GPUs only (sm_90)" in end.errors
