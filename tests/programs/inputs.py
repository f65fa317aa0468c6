"""The inputs that the CUDA programs make for themselves (cuda/program.h), made again with NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def sample(n: int, seed: int, start: int = 0) -> Floats:
    """n floats that are exact in binary: multiples of 1/16 below 256."""
    i = np.arange(start, start + n, dtype=np.uint64)
    mixed = (i * np.uint64(2654435761) + np.uint64(seed)) & np.uint64(0xFFFFFFFF)
    return ((mixed % np.uint64(4096)).astype(np.float32)) / np.float32(16)
