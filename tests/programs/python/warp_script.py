"""NVIDIA Warp, unmodified: elementwise, an atomic sum, vectors, a gradient; results go to argv[1]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import warp as wp


@wp.kernel
def saxpy(a: float, x: wp.array(dtype=float), y: wp.array(dtype=float)):  # type: ignore[no-untyped-def, valid-type]
    i = wp.tid()
    y[i] = a * x[i] + y[i]


@wp.kernel
def lengths(points: wp.array(dtype=wp.vec3), total: wp.array(dtype=float)):  # type: ignore[no-untyped-def, valid-type]
    wp.atomic_add(total, 0, wp.length(points[wp.tid()]))


def main(folder: Path) -> None:
    wp.config.kernel_cache_dir = str(folder / "warp")
    wp.init()
    with wp.ScopedDevice("cuda:0"):
        generator = np.random.default_rng(7)
        x, y = (generator.random(10_000, dtype=np.float32) for _ in range(2))
        points = generator.random((1000, 3), dtype=np.float32)
        out = wp.array(y)
        wp.launch(saxpy, x.size, [2.0, wp.array(x), out])
        total = wp.zeros(1, dtype=float, requires_grad=True)
        places = wp.array(points, dtype=wp.vec3, requires_grad=True)
        with wp.Tape() as tape:
            wp.launch(lengths, len(points), [places, total])
        tape.backward(total)
        results = {"saxpy": out.numpy(), "total": total.numpy(), "gradient": places.grad.numpy()}
        np.savez(folder / "out.npz", x=x, y=y, points=points, **results)


main(Path(sys.argv[1]))
