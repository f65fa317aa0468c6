"""The measuring programs: how they are compiled, where they run, how the harness talks with them.

A program answers one line of `key=value` words per line it is given (bench/common/bench.h).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / "build" / "bench"
FLAGS = ["-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"]

SOURCES: Mapping[str, Sequence[str]] = {
    "pingpong": ["bench/raw/pingpong.c", "bench/common/*.c"],
    "stream": ["bench/raw/stream.c", "bench/common/*.c"],
    "shmpong": ["bench/raw/shmpong.c", "bench/common/*.c"],
    "memcopy": ["bench/raw/memcopy.c", "bench/common/*.c"],
    "ringput": ["bench/raw/ringput.c", "bench/common/*.c"],
    "client": ["bench/client/*.c", "bench/common/*.c"],
    "compare": ["bench/rdma/compare.c", "bench/rdma/pair.c", "bench/common/*.c", "transport/*.c"],
    "rdmacost": ["bench/rdma/cost.c", "bench/common/*.c", "transport/*.c"],
    "channel": ["bench/channel/channel.c", "bench/common/*.c", "transport/*.c"],
}


class BenchError(RuntimeError):
    """A measuring program failed, or did not answer in time."""


def build(name: str) -> Path:
    """Compiles one program into build/bench unless it is newer than all it could be made of."""
    target = BUILT / name
    sources = [path for pattern in SOURCES[name] for path in sorted(ROOT.glob(pattern))]
    inputs = [*sources, *ROOT.glob("bench/*/*.h"), *ROOT.glob("transport/*.h")]
    if target.exists() and target.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return target
    BUILT.mkdir(parents=True, exist_ok=True)
    include = ["bench/common", "bench/client", "transport", "."]
    command = [os.environ.get("CC", "gcc"), *FLAGS, *(f"-I{ROOT / i}" for i in include)]
    command += [*map(str, sources), "-o", str(target), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{name} does not compile:\n{done.stderr}")
    return target


@contextlib.contextmanager
def placed(cpus: frozenset[int]) -> Iterator[None]:
    """Processes started inside run on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """A running program, on its CPUs. Ends with `close`, or when it is used in a `with` statement."""

    def __init__(
        self,
        command: Sequence[str | Path],
        cpus: frozenset[int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        with placed(cpus):
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        self._pending = b""
        self.asked = 0  # lines given so far

    def ask(self, line: str, timeout: float = 60) -> dict[str, float]:
        """Gives the program one line and returns its answer; BenchError when it fails or is late."""
        assert self._process.stdin
        self.asked += 1
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last line says why
        return self.answer(timeout, line)

    def answer(self, timeout: float = 60, asked: str = "") -> dict[str, float]:
        """The next line that the program prints, as numbers by name."""
        line = self._line(time.monotonic() + timeout, asked)
        if line.startswith("error="):
            raise BenchError(f"{self.name}: {asked}: {line.removeprefix('error=')}")
        return {key: float(value) for key, value in (word.split("=", 1) for word in line.split())}

    def _line(self, deadline: float, asked: str) -> str:
        assert self._process.stdout
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise BenchError(f"{self.name} did not answer in time: {asked}")
            some = os.read(self._process.stdout.fileno(), 65536)
            if not some:
                raise BenchError(f"{self.name} ended with status {self._process.wait(5)}: {asked}")
            self._pending += some
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode()

    def close(self) -> None:
        """Closes its input, which ends every measuring program; kills what does not end."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
