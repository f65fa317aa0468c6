"""Runs a test program in one of two ways: on the software GPU itself, or through `remora run` and a server.

Must not know: what any program computes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from remora.shim.launcher import environment, stats
from tests.programs import toolchain

HERE = Path(__file__).resolve().parent
SECONDS = 90  # a program that takes longer hangs
REMORA = [sys.executable, "-m", "remora"]


@dataclass(frozen=True)
class Result:
    """How a program ended, and what it left."""

    status: int
    output: str
    errors: str
    folder: Path
    pages: list[stats.Page]  # of counters; empty without Remora

    def expect_success(self) -> Result:
        assert self.status == 0, f"exit status {self.status}\n{self.output}\n{self.errors}"
        return self


def cuda_program(name: str, *flags: str) -> list[str]:
    """Command of one of the programs in cuda/, built when needed."""
    return [str(toolchain.build(HERE / "cuda" / f"{name}.cu", *flags))]


def python_program(name: str) -> list[str]:
    return [sys.executable, str(HERE / "python" / f"{name}.py")]


def clean_environment(**extra: str) -> dict[str, str]:
    """Ours, less what an outer run of Remora may have set."""
    dropped = {"LD_PRELOAD", "TRITON_LIBCUDA_PATH", "NUMBA_CUDA_DRIVER", *environment.OURS}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    libraries = {str(environment.SHIM_FOLDER), str(environment.SOFTGPU_FOLDER)}
    folders = [f for f in kept.pop("LD_LIBRARY_PATH", "").split(":") if f and f not in libraries]
    return kept | ({"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}) | extra


def finish(
    command: Sequence[str], settings: dict[str, str], folder: Path, seconds: float = SECONDS
) -> Result:
    """Runs command to its end. Its whole process group ends with it, also when it takes too long."""
    process = subprocess.Popen(
        command,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=toolchain.ROOT,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        raise AssertionError(f"{command} took longer than {seconds} s\n{output}\n{errors}") from None
    pages = stats.read_folder(folder)
    return Result(process.returncode, output, errors, folder, pages)


def run_directly(program: Sequence[str], folder: Path, *arguments: str, **settings: str) -> Result:
    """The program on the software GPU, with nothing of Remora between."""
    base = environment.for_softgpu(clean_environment(**settings))
    return finish([*program, str(folder), *arguments], base, folder)


@dataclass(frozen=True)
class Server:
    """A `remora serve` in another process."""

    address: str
    token_file: Path
    process: subprocess.Popen[str]
    log: Path

    def command(self, *options: str) -> list[str]:
        """The beginning of a `remora run` on this server."""
        return [
            *REMORA,
            "run",
            "--server",
            self.address,
            "--token-file",
            str(self.token_file),
            *options,
            "--",
        ]

    def run(
        self,
        program: Sequence[str],
        folder: Path,
        *arguments: str,
        options: Sequence[str] = (),
        seconds: float = SECONDS,
        **settings: str,
    ) -> Result:
        """The program with its GPUs on this server."""
        base = clean_environment(REMORA_STATS=str(folder), **settings)
        return finish([*self.command(*options), *program, str(folder), *arguments], base, folder, seconds)


@contextmanager
def server(folder: Path, *options: str, driver: str = "softgpu", **settings: str) -> Iterator[Server]:
    """A server with a token, for as long as the block runs."""
    token_file, log = folder / "token", folder / "server.log"
    token_file.write_text("correct horse battery staple")
    read, write = os.pipe()
    command = [
        *REMORA,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--driver",
        driver,
        "--token-file",
        str(token_file),
        "--ready-fd",
        str(write),
        "--with-parent",
        *options,
    ]
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            text=True,
            pass_fds=[write],
            env=clean_environment(**settings),
            start_new_session=True,
            cwd=toolchain.ROOT,
        )
    os.close(write)
    with os.fdopen(read) as pipe:
        address = pipe.readline().strip()
    assert address, f"remora serve did not start:\n{log.read_text()}"
    try:
        yield Server(address, token_file, process, log)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError("remora serve did not end within 10 s of SIGTERM") from None


def wait_until(what: str, condition: object, seconds: float = 20) -> None:
    """Asks condition() again and again until it is true; fails after some seconds."""
    assert callable(condition)
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not within {seconds} s: {what}"
        time.sleep(0.05)
