"""A CuPy program that synchronises with a kernel which never ends."""

import sys
from pathlib import Path

import cupy as cp

ENDLESS = cp.RawKernel(
    r"""
extern "C" __global__ void endless(volatile unsigned *x) {
  unsigned v = 1;
  for (unsigned long long i = 0; i < (1ull << 40); i++) v = v * 1664525u + 1013904223u;
  *x = v;
}
""",
    "endless",
)

ENDLESS((1,), (1,), (cp.zeros(1, cp.uint32),))
Path(sys.argv[1], "ready").touch()
cp.cuda.Device().synchronize()
