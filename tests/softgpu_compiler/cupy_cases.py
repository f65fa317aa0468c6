"""CuPy functions over dtypes against NumPy, on the software GPU: prints a line for each failure.

CuPy finds the driver library through LD_LIBRARY_PATH when it is imported, so this is a process of its own.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator

import cupy as cp
import numpy as np

RNG = np.random.default_rng(5)
SHAPE = (37, 29)
FLOATS = ("f2", "f4", "f8")
INTS = ("i1", "u1", "i2", "i4", "u4", "i8")
COMPLEX = ("c8", "c16")
Case = tuple[str, Callable[[], tuple[object, object]], float]


def data(dtype: str, positive: bool = False) -> np.ndarray:
    """A random array of a dtype."""
    if dtype == "b1":
        return RNG.random(SHAPE) > 0.5
    if dtype[0] in "iu":
        low = 1 if positive or dtype[0] == "u" else -50
        return RNG.integers(low, 100, SHAPE).astype(dtype)
    values = RNG.standard_normal(SHAPE)
    if dtype[0] == "c":
        values = values + 1j * RNG.standard_normal(SHAPE)
    return (np.abs(values) + 0.1 if positive else values).astype(dtype)


def both(f: Callable[..., object], *arrays: np.ndarray) -> Callable[[], tuple[object, object]]:
    """The function on CuPy and on NumPy."""

    def run() -> tuple[object, object]:
        with np.errstate(all="ignore"):
            return f(cp, *(cp.asarray(a) for a in arrays)), f(np, *arrays)

    return run


def tolerance(dtype: str) -> float:
    """How far a float function may be off, relative."""
    return {"f2": 4e-3, "f4": 2e-5, "f8": 1e-11, "c8": 1e-4, "c16": 1e-10}.get(dtype, 1e-6)


def named(name: str) -> Callable[..., object]:
    """numpy.name or cupy.name"""
    return lambda m, *a: getattr(m, name)(*a)


def elementwise() -> Iterator[Case]:
    for name in ("add", "subtract", "multiply", "maximum", "minimum", "equal", "less", "greater_equal"):
        for t in (*FLOATS, *INTS):
            yield f"{name} {t}", both(named(name), data(t), data(t)), tolerance(t)
    for name in ("add", "multiply", "divide"):
        for t in COMPLEX:
            yield f"{name} {t}", both(named(name), data(t), data(t, True)), tolerance(t)
    for name in ("floor_divide", "remainder", "divide", "power"):
        for t in ("f4", "f8", "i4", "u4", "i8"):
            if name == "power" and t[0] in "iu":
                yield f"{name} {t}", both(named(name), data(t), data(t, True) % 5), 0
            else:
                yield f"{name} {t}", both(named(name), data(t), data(t, True)), tolerance(t)
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"):
        for t in ("i4", "u4", "i8", "u1"):
            yield f"{name} {t}", both(named(name), data(t), data(t, True) % 7), 0
    functions = ("exp", "expm1", "log", "log1p", "log2", "sqrt", "cbrt", "sin", "cos", "tan", "arctan",
                 "sinh", "cosh", "tanh", "floor", "ceil", "rint", "abs",
                 "reciprocal", "square", "isnan", "sign")  # fmt: skip
    for name in functions:
        for t in ("f4", "f8"):
            yield f"{name} {t}", both(named(name), data(t, True)), tolerance(t) * 4
    for name in ("exp", "sqrt", "abs", "conj", "sin"):
        for t in COMPLEX:
            yield f"{name} {t}", both(named(name), data(t)), tolerance(t)
    for a in ("b1", *INTS, *FLOATS):
        for b in ("u1", "i4", "i8", "f2", "f4", "f8"):
            source = np.abs(data(a).astype(a)) if b == "u1" and a != "b1" else data(a)
            yield f"astype {a} {b}", both(lambda m, x, b=b: x.astype(b), source), tolerance(b)


def reductions() -> Iterator[Case]:
    for name in ("sum", "prod", "max", "min", "mean", "argmax", "argmin"):
        for t in ("f4", "f8", "i4", "i8"):
            x = (1 + data(t) / 100).astype(t) if name == "prod" else data(t)
            for axis in (None, 0, 1):
                yield (
                    f"{name} {t} {axis}",
                    both(lambda m, a, n=name, k=axis: getattr(m, n)(a, axis=k), x),
                    1e-3,
                )
    for name in ("any", "all", "count_nonzero"):
        for t in ("b1", "i4"):
            yield f"{name} {t}", both(named(name), data(t)), 0
    for name in ("std", "var", "nansum", "ptp", "linalg.norm"):
        yield f"{name} f8", both(lambda m, a, n=name: _dotted(m, n)(a), data("f8")), 1e-9
    for name in ("cumsum", "cumprod"):
        for t in ("f8", "i4", "i8"):
            yield f"{name} {t}", both(named(name), (1 + data(t) / 100).astype(t)), 1e-8


def _dotted(module: object, name: str) -> Callable[..., object]:
    for part in name.split("."):
        module = getattr(module, part)
    return module  # type: ignore[return-value]


def ordering() -> Iterator[Case]:
    for t in ("f4", "f8", "i4", "i8", "u1"):
        x = data(t).ravel()
        yield f"sort {t}", both(named("sort"), x), 0
        yield f"sort axis {t}", both(lambda m, a: m.sort(a, axis=0), data(t)), 0
        yield f"argsort {t}", both(lambda m, a: a[m.argsort(a)], x), 0
        yield f"unique {t}", both(named("unique"), x), 0
        yield f"searchsorted {t}", both(lambda m, a: m.searchsorted(m.sort(a), a[:50]), x), 0
        yield f"partition {t}", both(lambda m, a: m.sort(m.partition(a, 10)[:10]), x), 0
    yield "bincount", both(named("bincount"), data("u1").ravel().astype("i8")), 0
    yield "histogram", both(lambda m, a: m.histogram(a, 20)[0], data("f8").ravel()), 0
    yield "lexsort", both(lambda m, a: m.lexsort(m.stack([a, a[::-1]])), data("f8").ravel()), 0


def indexing() -> Iterator[Case]:
    for t in ("f4", "f8", "i4", "u1"):
        x = data(t)
        where = RNG.integers(0, SHAPE[0], 50)
        yield f"take {t}", both(lambda m, a, i: m.take(a, i, axis=0), x, where), 0
        yield f"mask {t}", both(lambda m, a: a[a > 1], x), 0
        yield f"slice {t}", both(lambda m, a: a[3:-2:2, ::-1].copy(), x), 0
        yield f"fancy {t}", both(lambda m, a, i: a[i, 2], x, where), 0
        yield f"nonzero {t}", both(lambda m, a: m.nonzero(a > 0)[1], x), 0
        yield f"where {t}", both(lambda m, a: m.where(a > 1, a, a + 1), x), 0
        yield f"concatenate {t}", both(lambda m, a: m.concatenate([a, a[:3]]), x), 0
        yield f"transpose {t}", both(lambda m, a: m.ascontiguousarray(a.T), x), 0
        yield f"repeat {t}", both(lambda m, a: m.repeat(a, 3, axis=1), x), 0
        yield f"roll {t}", both(lambda m, a: m.roll(a, 5, axis=1), x), 0
        yield f"flip {t}", both(lambda m, a: m.flip(a, 0).copy(), x), 0
        yield f"tril {t}", both(named("tril"), x), 0
        yield f"clip {t}", both(lambda m, a: m.clip(a, 1, 3), x), 0


def logistic(a: cp.ndarray) -> cp.ndarray:
    return cp.exp(a) / (1 + cp.exp(a))


def own_kernels() -> Iterator[Case]:
    def raw() -> tuple[object, object]:
        code = 'extern "C" __global__ void f(float* x, int n) {' \
               " int i = blockIdx.x * blockDim.x + threadIdx.x;" \
               " if (i < n) x[i] = x[i] * 3 + i; }"  # fmt: skip
        x = data("f4").ravel()
        y = cp.asarray(x)
        cp.RawKernel(code, "f")((5,), (256,), (y, np.int32(x.size)))
        return y, x * np.float32(3) + np.arange(x.size, dtype="f4")

    def element() -> tuple[object, object]:
        kernel = cp.ElementwiseKernel("T x, T y", "T z", "z = (x - y) * (x - y)", "squared")
        x, y = data("f8"), data("f8")
        return kernel(cp.asarray(x), cp.asarray(y)), (x - y) ** 2

    def reduction() -> tuple[object, object]:
        kernel = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "row_norm")
        x = data("f8")
        return kernel(cp.asarray(x), axis=1), np.sqrt((x * x).sum(1))

    def fused() -> tuple[object, object]:
        x = data("f4")
        return cp.fuse(logistic)(cp.asarray(x)), np.exp(x) / (1 + np.exp(x))

    yield from (
        ("RawKernel", raw, 1e-6),
        ("ElementwiseKernel", element, 1e-14),
        ("ReductionKernel", reduction, 1e-12),
    )
    yield "fuse", fused, 1e-5


def agree(got: object, want: object, rtol: float) -> bool:
    """Same shape and dtype, and values within the tolerance."""
    a, b = cp.asnumpy(got), np.asarray(want)
    if a.shape != b.shape:
        return False
    if rtol == 0:
        return bool(np.array_equal(a, b))
    return bool(np.allclose(a, b.astype(a.dtype), rtol=rtol, atol=rtol, equal_nan=True))


def main() -> int:
    wanted = sys.argv[1:]
    count = failed = 0
    for group in (elementwise, reductions, ordering, indexing, own_kernels):
        for name, run, rtol in group():
            if wanted and not any(name.startswith(w) for w in wanted):
                continue
            count += 1
            try:
                ok, why = agree(*run(), rtol), "differs from NumPy"
            except Exception as error:
                ok, why = False, "".join(traceback.format_exception_only(error)).strip()
            if not ok:
                failed += 1
                print(f"FAILED {name}: {why[:500]}", flush=True)
    print(f"{count} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
