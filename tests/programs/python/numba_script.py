"""numba-cuda, unmodified: kernels of its own compiler; inputs and results go to the folder argv[1]."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from numba import cuda, float32

BLOCK = 128


@cuda.jit(device=True)
def blend(a, b):  # type: ignore[no-untyped-def]
    return a * float32(0.5) + math.sqrt(b)


@cuda.jit
def add(x, y, out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < out.size:
        out[i] = x[i] + y[i]


@cuda.jit
def blended(x, y, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = blend(x[i], y[i])


@cuda.jit
def block_sums(x, out):  # type: ignore[no-untyped-def]
    shared = cuda.shared.array(BLOCK, float32)
    lane, i = cuda.threadIdx.x, cuda.grid(1)
    shared[lane] = x[i] if i < x.size else 0
    cuda.syncthreads()
    step = BLOCK // 2
    while step:
        if lane < step:
            shared[lane] += shared[lane + step]
        cuda.syncthreads()
        step //= 2
    if lane == 0:
        out[cuda.blockIdx.x] = shared[0]


@cuda.jit
def histogram(values, counts):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.add(counts, values[i], 1)


@cuda.jit
def warp_sums(x, out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    value = x[i]
    for step in (16, 8, 4, 2, 1):
        value += cuda.shfl_down_sync(0xFFFFFFFF, value, step)
    if i % 32 == 0:
        out[i // 32] = value


def main(folder: Path) -> None:
    generator = np.random.default_rng(5)
    x = generator.random(100_000, dtype=np.float32)
    y = generator.random(100_000, dtype=np.float32)
    values = generator.integers(0, 64, 100_000)
    blocks = -(-x.size // BLOCK)
    results = {"x": x, "y": y, "values": values}

    results["added"] = np.zeros_like(x)
    add[blocks, BLOCK](x, y, results["added"])  # arrays of the host: Numba copies them there and back

    streams = [cuda.stream(), cuda.stream()]
    outs = []
    for stream, (a, b) in zip(streams, [(x, y), (y, x)], strict=True):
        out = cuda.device_array(x.shape, np.float32, stream=stream)
        blended[16, BLOCK, stream](cuda.to_device(a, stream), cuda.to_device(b, stream), out)
        outs.append(out)
    for name, stream, out in zip(["blended", "blended_back"], streams, outs, strict=True):
        results[name] = out.copy_to_host(stream=stream)
        stream.synchronize()

    sums = cuda.device_array(blocks, np.float32)
    block_sums[blocks, BLOCK](x, sums)
    results["sums"] = sums.copy_to_host()

    results["counts"] = np.zeros(64, np.int32)
    histogram[blocks, BLOCK](values, results["counts"])

    warps = cuda.device_array(x.size // 32, np.int64)
    warp_sums[x.size // 32, 32](cuda.to_device(values), warps)
    results["warps"] = warps.copy_to_host()
    np.savez(folder / "out.npz", **results)


main(Path(sys.argv[1]))
