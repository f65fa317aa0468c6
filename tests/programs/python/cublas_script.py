"""CuPy's matrix products through NVIDIA's cuBLAS, unmodified; inputs and results go to the folder argv[1]."""

from __future__ import annotations

import sys
from pathlib import Path

import cupy as cp
import numpy as np


def main(folder: Path) -> None:
    generator = np.random.default_rng(8)
    results = {}
    for dtype in ("float32", "float64", "complex64"):
        a, b = (generator.random((96, 80)).astype(dtype), generator.random((80, 64)).astype(dtype))
        product = cp.asarray(a) @ cp.asarray(b)
        results |= {f"a_{dtype}": a, f"b_{dtype}": b, f"c_{dtype}": (product + 1).get()}
    many = generator.random((3, 33, 33), dtype=np.float32)
    results |= {"many": many, "squares": cp.matmul(cp.asarray(many), cp.asarray(many)).get()}
    vector = generator.random(80)
    results |= {"vector": vector, "dot": cp.dot(cp.asarray(vector), cp.asarray(vector)).get()}
    np.savez(folder / "out.npz", **results)


main(Path(sys.argv[1]))
