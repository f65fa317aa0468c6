"""Fuzzes the compiler and the driver with damaged PTX. Every mutation must compile or be refused clearly.

    python -m tests.softgpu_compiler.fuzz              10^5 parsed and translated, 10^3 compiled and run
    python -m tests.softgpu_compiler.fuzz --seed 7 --translate 0 --run 50

Mutations are cut into batches by number, each batch in a process of its own, so that a crash is seen and
named by seed. What runs runs in a process of its own, too: damaged kernels may run for ever (they are
ended) or write where they please, and this driver is no security boundary.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.process
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import queues
from pathlib import Path

import llvmlite.binding as llvm
import typer

from remora.engine.softgpu.compiler import native
from remora.engine.softgpu.compiler.describe import describe
from remora.engine.softgpu.compiler.errors import CompileError, PtxError
from remora.engine.softgpu.compiler.module import Module
from remora.engine.softgpu.compiler.unit import Unit
from tests.programs.toolchain import build
from tests.softgpu_compiler.device import Driver, DriverError
from tests.softgpu_compiler.mutations import Seedling, mutated, seedlings

HERE = Path(__file__).parent
SOURCES = ("kernels.cu", "region_kernels.cu", "together.cu")
ARCHITECTURES = ("compute_75", "compute_80")
BATCH = 500
SLOW_S = 20.0  # a translation that takes longer than this is a fault
RUN_S = 3.0  # a damaged kernel that runs longer is taken to run for ever
BUFFER = 1 << 16
Verdicts = queues.Queue  # of (number, verdict)


def corpus() -> list[Seedling]:
    """Small kernels of the tests."""
    flags = [f"-gencode=arch={a},code={a}" for a in ARCHITECTURES]
    images = [build(HERE / s, "-fatbin", flag).read_bytes() for s in SOURCES for flag in flags]
    return [s for image in images for s in seedlings(image)]


def mutation(seeds: list[Seedling], seed: int, number: int, gentle: bool) -> str:
    """Mutation `number` of a seed."""
    rng = random.Random(f"{seed}/{number}/{gentle}")
    return mutated(rng, rng.choice(seeds), gentle)


# -- translating


def translate(text: str) -> str:
    """Index, describe, translate all kernels, let LLVM read the result: what came of it, in a word."""
    try:
        module = Module(text)
        describe(module)
        units = [Unit(module) for _ in range(len(module.kernels()) + bool(module.taken_functions()))]
        for unit, kernel in zip(units, module.kernels(), strict=False):
            unit.kernel(kernel.name)
        if module.taken_functions():
            units[-1].functions()
        for unit in units:
            llvm.parse_assembly(unit.text()).verify()
        return "translated" if module.kernels() else "no kernel left"
    except PtxError as error:
        return "refused" if str(error) else "fault: refused without a word"
    except CompileError:
        return "refused"
    except RecursionError:
        return "refused"  # the service says: nested too deeply
    except Exception as error:
        return f"fault: {type(error).__name__}: {str(error)[:200]}"


def translate_batch(
    seed: int, first: int, count: int, seeds: list[Seedling], out: multiprocessing.Queue
) -> None:  # type: ignore[type-arg]
    """One process's share."""
    native.machine()
    for number in range(first, first + count):
        start = time.monotonic()
        out.put((number, "started"))
        verdict = translate(mutation(seeds, seed, number, False))
        took = time.monotonic() - start
        out.put((number, verdict if took < SLOW_S else f"fault: took {took:.0f} s"))


# -- running


def launch(text: str) -> str:
    """Compile and run every kernel of a damaged module once, on buffers of its own."""
    driver = Driver()
    try:
        module = driver.load(text.encode("latin-1", "replace"))
    except DriverError as error:
        return _refusal(error)
    header = Module(text)
    for kernel in header.kernels():
        sizes = [p.size for p in header.header(kernel.name).params]
        pointers = [ctypes.c_uint64() for _ in sizes]
        for pointer in pointers:
            driver.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(BUFFER))
            driver.call("cuMemsetD8_v2", pointer, ctypes.c_ubyte(0), ctypes.c_size_t(BUFFER))
        arguments = [
            bytes(p) if size == 8 else (100).to_bytes(4, "little").ljust(size, b"\0")
            for p, size in zip(pointers, sizes, strict=True)
        ]
        try:
            module.launch(kernel.name, 2, 64, *arguments, shared=4096)
        except DriverError as error:
            return _refusal(error)
    return "ran"


VERDICTS = {
    1: "refused launch", 2: "too much memory", 218: "refused", 700: "wild address", 701: "refused launch",
    710: "assertion", 719: "trap",
}  # fmt: skip


def _refusal(error: DriverError) -> str:
    """What a damaged kernel may come to; anything else says that the driver or its service is at fault."""
    return VERDICTS.get(error.code, f"fault: error {error.code} {error.log[:200]}")


def run_one(text: str) -> str:
    """launch() in a child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        try:
            verdict = launch(text)
        except BaseException as error:
            verdict = f"fault: {type(error).__name__}: {error}"
        os.write(write, verdict.encode())
        os._exit(0)
    os.close(write)
    end = time.monotonic() + RUN_S
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(read)
            return "ran for ever"
        time.sleep(0.002)
    with os.fdopen(read, "rb") as pipe:
        return pipe.read().decode() or "fault: the process died"


# -- the command


def translate_all(seed: int, count: int, seeds: list[Seedling], jobs: int) -> tuple[Counter[str], list[str]]:
    """Counts by verdict, and the faults."""
    context = multiprocessing.get_context("fork")
    totals: Counter[str] = Counter()
    faults: list[str] = []
    waiting = [(n, min(BATCH, count - n)) for n in range(0, count, BATCH)]
    running: list[tuple[multiprocessing.process.BaseProcess, Verdicts, list[int]]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            first, size = waiting.pop()
            out = context.Queue()
            process = context.Process(target=translate_batch, args=(seed, first, size, seeds, out))
            process.start()
            running.append((process, out, [-1]))
        for entry in list(running):
            process, out, last = entry
            alive = process.is_alive()
            while not out.empty():
                number, verdict = out.get()
                last[0] = number if verdict == "started" else -1
                if verdict.startswith("fault"):
                    faults.append(f"{seed}/{number}: {verdict}")
                    verdict = "fault"
                totals[verdict] += verdict != "started"
            if not alive and out.empty():
                if process.exitcode:
                    faults.append(f"{seed}/{last[0]}: the process died ({process.exitcode})")
                    totals["fault"] += 1
                process.join()
                running.remove(entry)
        time.sleep(0.01)
    del totals["started"]
    return totals, faults


def run_all(seed: int, count: int, seeds: list[Seedling]) -> tuple[Counter[str], list[str]]:
    """Counts by verdict, and the faults."""
    totals: Counter[str] = Counter()
    faults = []
    number = done = 0
    while done < count:
        text = mutation(seeds, seed, number, True)
        number += 1
        if translate(text) != "translated":
            continue
        verdict = run_one(text)
        done += 1
        if verdict.startswith("fault"):
            faults.append(f"{seed}/{number - 1} (run): {verdict}")
            verdict = "fault"
        totals[verdict] += 1
    return totals, faults


def main(
    seed: int = 1, translate: int = 100_000, run: int = 1000, jobs: int = len(os.sched_getaffinity(0))
) -> None:
    """Fuzz, say what came of it, exit 1 if anything crashed or was refused without a clear error."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["REMORA_SOFTGPU_CACHE"] = f"{cache}/softgpu"
        os.environ.setdefault("REMORA_SOFTGPU_PYTHON", sys.executable)
        seeds = corpus()
        for name, count, work in (
            ("translated", translate, lambda: translate_all(seed, translate, seeds, jobs)),
            ("compiled and run", run, lambda: run_all(seed, run, seeds)),
        ):
            start = time.monotonic()
            totals, found = work()
            faults += found
            details = ", ".join(f"{v} {k}" for k, v in sorted(totals.items()))
            typer.echo(f"{count} mutations {name} in {time.monotonic() - start:.0f} s: {details}")
    for fault in faults:
        typer.echo(fault)
    raise typer.Exit(bool(faults))


if __name__ == "__main__":
    typer.run(main)
