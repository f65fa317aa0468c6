"""The software GPU beside NumPy in the same process: `python -m remora.bench.softgpu`. Medians, in ms.

An object cache of its own, so that compiling is measured too.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent / "engine" / "softgpu" / "lib" / "libcuda.so.1"
N = 4 << 20
SIDE = 512
Shape = tuple[tuple[int, int], tuple[int, int]]  # blocks and their threads
WARM_UP = 5  # the first launch compiles; new threads find their processors
ROUNDS = 15


class Device:
    """The driver library, one module, and three buffers of N doubles."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(os.fspath(LIBRARY))
        self.call("cuInit", 0)
        context, self.module = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)
        self.call("cuModuleLoadData", ctypes.byref(self.module), (HERE / "softgpu.ptx").read_bytes() + b"\0")
        self.buffers = [ctypes.c_uint64() for _ in range(3)]
        for buffer in self.buffers:
            self.call("cuMemAlloc_v2", ctypes.byref(buffer), ctypes.c_size_t(8 * N))

    def call(self, name: str, *args: object) -> None:
        """One driver call; ends the program with its name if it fails."""
        if code := getattr(self.library, name)(*args):
            raise SystemExit(f"{name} gave {code}")

    def fill(self, data: list[np.ndarray]) -> None:
        """Arrays into the first buffers."""
        for buffer, array in zip(self.buffers, data, strict=False):
            self.call(
                "cuMemcpyHtoD_v2", buffer, ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
            )

    def launcher(
        self, name: str, grid: tuple[int, int], block: tuple[int, int], n: int
    ) -> Callable[[], None]:
        """What launches a kernel and waits for it."""
        function, count = ctypes.c_void_p(), ctypes.c_int(n)
        self.call("cuModuleGetFunction", ctypes.byref(function), self.module, name.encode())
        arguments = (ctypes.c_void_p * 4)(*map(ctypes.addressof, [*self.buffers, count]))

        def launch() -> None:
            assert count.value == n  # keeps it alive
            self.call("cuLaunchKernel", function, *grid, 1, *block, 1, 0, None, arguments, None)
            self.call("cuCtxSynchronize")

        return launch


def median_ms(*works: Callable[[], object]) -> list[float]:
    """The median times of some, run in turn so that all have the same share of the machine's other work."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(WARM_UP + ROUNDS):
        for work, took in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            took.append(time.perf_counter() - start)
    return [1000 * statistics.median(took[WARM_UP:]) for took in times]


def compile_ms() -> float:
    """CPU time of compiling, per PTX instruction."""
    from remora.engine.softgpu.compiler.module import Module
    from remora.engine.softgpu.compiler.translate import object_code

    module = Module((HERE / "softgpu.ptx").read_text())
    object_code(module, 0)  # LLVM's own start
    start = time.process_time()
    for unit, _ in enumerate(module.kernels()):
        object_code(module, unit)
    took = time.process_time() - start
    return 1000 * took / sum(len(module.function(k.name).instructions()) for k in module.kernels())


def normal(d: np.ndarray) -> np.ndarray:
    """softgpu.cu's normal distribution."""
    k = 1 / (1 + np.float32(0.2316419) * np.abs(d))
    tail = np.float32(1.330274429)
    for factor in (-1.821255978, 1.781477937, -0.356563782, 0.31938153):
        tail = np.float32(factor) + k * tail
    tail *= np.float32(0.39894228) * np.exp(np.float32(-0.5) * d * d) * k
    return np.where(d > 0, 1 - tail, tail)


def options(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    """softgpu.cu's options."""
    years, spot = y + np.float32(0.1), x + np.float32(0.5)
    root = np.float32(0.3) * np.sqrt(years)
    d = (np.log(spot) + np.float32(0.065) * years) / root
    z[:] = spot * normal(d) - np.exp(np.float32(-0.02) * years) * normal(d - root)


def stencil(x: np.ndarray, z: np.ndarray) -> None:
    """softgpu.cu's stencil."""
    z[1:-1] = np.float32(0.25) * x[:-2] + np.float32(0.5) * x[1:-1] + np.float32(0.25) * x[2:]


def report(device: Device) -> None:
    """One line for each kernel."""
    rng = np.random.default_rng(1)
    x, y, z = singles = [rng.random(N, dtype="f4") for _ in range(3)]
    doubles = [rng.random(N) for _ in range(3)]
    square, turned = x.reshape(2048, 2048), z.reshape(2048, 2048)
    numbers = x.view("u1")
    all_blocks, tiles = ((N // 256, 1), (256, 1)), ((128, 128), (16, 16))
    cases: list[tuple[str, list[np.ndarray], Shape, int, Callable[[], object]]] = [
        ("add", singles, all_blocks, N, lambda: np.add(x, y, out=z)),
        ("saxpy", singles, all_blocks, N, lambda: np.add(np.float32(2.5) * x, y, out=z)),
        ("exponential", singles, all_blocks, N, lambda: np.exp(x, out=z)),
        ("options", singles, all_blocks, N, lambda: options(x, y, z)),
        ("stencil", singles, all_blocks, N, lambda: stencil(x, z)),
        ("transpose", singles, tiles, N, lambda: np.copyto(turned, square.T)),
        ("reduce", singles, all_blocks, N, lambda: x.sum()),
        ("histogram", singles, ((64, 1), (256, 1)), 4 * N, lambda: np.bincount(numbers, minlength=256)),
        *[
            (
                "stride",
                doubles,
                ((b, 1), (256, 1)),
                N,
                lambda: np.add(0.5 * doubles[0], doubles[1], out=doubles[2]),
            )
            for b in (32, 1024)
        ],
    ]
    for name, data, shape, n, numpy in cases:
        device.fill(data)
        ours, theirs = median_ms(device.launcher(name, *shape, n), numpy)
        blocks = shape[0][0] * shape[0][1]
        print(f"{name}, {blocks} blocks: {ours:.2f} ms, NumPy {theirs:.2f} ms, ratio {ours / theirs:.2f}")
    device.fill(singles)
    (took,) = median_ms(device.launcher("matmul", (SIDE // 16, SIDE // 16), (16, 16), SIDE))
    print(f"matmul {SIDE}^3 in 16x16 tiles: {took:.1f} ms, {2 * SIDE**3 / took / 1e6:.1f} GFLOP/s")
    (empty,) = median_ms(device.launcher("nothing", (1, 1), (1, 1), 0))
    print(f"empty launch and wait: {1000 * empty:.0f} us")
    print(f"compiling: {compile_ms():.2f} ms for each PTX instruction")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["REMORA_SOFTGPU_CACHE"] = f"{cache}/softgpu"
        os.environ.setdefault("REMORA_SOFTGPU_PYTHON", sys.executable)
        report(Device())


if __name__ == "__main__":
    main()
