"""Triton, unmodified, with CuPy's arrays: elementwise, a softmax, a matrix product; results go to argv[1]."""

from __future__ import annotations

import sys
from pathlib import Path

import cupy as cp
import numpy as np
import triton
import triton.language as tl


class Pointer:
    """What Triton wants to know of an array."""

    def __init__(self, array):  # type: ignore[no-untyped-def]
        self.array, self.dtype = array, array.dtype

    def data_ptr(self):  # type: ignore[no-untyped-def]
        return self.array.data.ptr


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, i < n) + tl.load(y + i, i < n), i < n)


@triton.jit
def softmax(x, out, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.arange(0, BLOCK)
    row = tl.load(x + tl.program_id(0) * n + i, i < n, other=-float("inf"))
    exps = tl.exp(row - tl.max(row, 0))
    tl.store(out + tl.program_id(0) * n + i, exps / tl.sum(exps, 0), i < n)


@triton.jit
def product(a, b, out, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):  # type: ignore[no-untyped-def]
    rows = tl.program_id(0) * M + tl.arange(0, M)
    columns = tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, k, K):
        inner = start + tl.arange(0, K)
        left = tl.load(a + rows[:, None] * k + inner[None, :])
        total += tl.dot(left, tl.load(b + inner[:, None] * n + columns[None, :]))
    tl.store(out + rows[:, None] * n + columns[None, :], total)


def main(folder: Path) -> None:
    generator = np.random.default_rng(6)
    x, y = (generator.random(10_000, dtype=np.float32) for _ in range(2))
    a = generator.random((128, 96)).astype(np.float16)
    b = generator.random((96, 128)).astype(np.float16)
    dx, dy, da, db = map(cp.asarray, (x, y, a, b))

    added = cp.zeros_like(dx)
    add[(triton.cdiv(x.size, 256),)](Pointer(dx), Pointer(dy), Pointer(added), x.size, BLOCK=256)
    soft = cp.zeros((100, 100), np.float32)
    softmax[(100,)](Pointer(dx), Pointer(soft), 100, BLOCK=128)
    dot = cp.zeros((128, 128), np.float32)
    product[(2, 4)](Pointer(da), Pointer(db), Pointer(dot), 128, 96, M=64, N=32, K=32)
    results = {"added": added.get(), "soft": soft.get(), "dot": dot.get()}
    np.savez(folder / "out.npz", x=x, y=y, a=a, b=b, **results)


main(Path(sys.argv[1]))
