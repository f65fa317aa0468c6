"""A CuPy script: elementwise operations, reductions and a RawKernel."""

import sys
from pathlib import Path

import cupy as cp
import numpy as np

CLAMP = cp.RawKernel(
    r"""
extern "C" __global__ void clamp(const float *x, float low, float high, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = fminf(fmaxf(x[i], low), high);
}
""",
    "clamp",
)


def main():
    folder = Path(sys.argv[1])
    host = np.random.default_rng(3).random((300, 400), dtype=np.float32)
    x = cp.asarray(host)
    n = x.size
    clamped = cp.empty_like(x)
    CLAMP(((n + 127) // 128,), (128,), (x, np.float32(0.25), np.float32(0.75), clamped, np.int32(n)))
    np.savez(
        folder / "out.npz",
        elementwise=cp.asnumpy(x * 2 + 1),
        compared=cp.asnumpy(cp.where(x > 0.5, x, -x)),
        total=cp.asnumpy(x.sum(dtype=cp.float64)),
        columns=cp.asnumpy(x.max(axis=0)),
        rows=cp.asnumpy(x.mean(axis=1)),
        clamped=cp.asnumpy(clamped),
    )
    print("cupy_script: done")


if __name__ == "__main__":
    main()
