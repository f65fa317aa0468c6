"""Kernels that begin, or go on after a barrier, with a comparison that only some threads pass: exactly those
run, also where the compared number wraps from one thread to the next.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from remora.engine.softgpu.compiler.module import Module
from remora.engine.softgpu.compiler.unit import Unit
from tests.softgpu_compiler.device import Driver

THREADS, ROWS = 70, 3
ORDERS = ("lt", "le", "gt", "ge", "eq", "ne", "lo", "ls", "hi", "hs")
COMPARE = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
KERNEL = """
.visible .entry {name}(.param .u64 out, .param .u32 base, .param .u32 bound)
{{
  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<4>;
  .shared .align 4 .b8 s[4];
  ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [base]; ld.param.u32 %r2, [bound];
  {barrier}
  mov.u32 %r3, %tid.x; mov.u32 %r4, %tid.y;
  mad.lo.s32 %r5, %r4, 3, %r1;
  add.s32 %r6, %r5, %r3;
  mad.lo.u32 %r7, %r4, {threads}, %r3;
  mul.wide.u32 %rd2, %r7, 4; add.s64 %rd3, %rd1, %rd2;
  {test}
  @{sign}%p1 bra DONE;
  ld.global.u32 %r8, [%rd3]; add.u32 %r8, %r8, 1; st.global.u32 [%rd3], %r8;
DONE:
  ret;
}}"""
HEAD = ".version 8.0\n.target sm_75\n.address_size 64\n"
TWO = "setp.lt.s32 %p2, %r6, %r2; setp.gt.u32 %p3, %r3, 50; or.pred %p1, %p2, %p3;"
BARRIER = "bar.sync 0;"
EDGES = (0, 1, 5, 40, 2**31 - 30, 2**31 - 1, 2**31, 2**31 + 20, 2**32 - 40, 2**32 - 1)


def kernel(name: str, test: str, sign: str, barrier: str) -> str:
    """`test` sets %p1 from %r6 = base + 3 tid.y + tid.x and %r2 = bound; threads where it holds leave."""
    return KERNEL.format(name=name, test=test, sign=sign, barrier=barrier, threads=THREADS)


def single(order: str, kind: str, mirrored: bool) -> str:
    a, b = ("%r2", "%r6") if mirrored else ("%r6", "%r2")
    return f"setp.{order}.{kind} %p1, {a}, {b};"


def passing(order: str, kind: str, mirrored: bool, sign: str, base: int, bound: int) -> np.ndarray:
    """What the kernel should have counted."""
    at = (base + 3 * np.arange(ROWS)[:, None] + np.arange(THREADS)).astype("u4")
    dtype = "i4" if kind == "s32" else "u4"
    a, b = at.view(dtype), np.array(bound, "u4").view(dtype)
    leaves = COMPARE[order](b, a) if mirrored else COMPARE[order](a, b)
    return (leaves if sign else ~leaves).astype("u4")


@pytest.mark.parametrize("barrier", ["", BARRIER])
@pytest.mark.parametrize("kind", ["s32", "u32"])
def test_threads_that_pass(driver: Driver, kind: str, barrier: str) -> None:
    orders = [o for o in ORDERS if kind == "u32" or not o.startswith(("lo", "ls", "hi", "hs"))]
    cases = list(itertools.product(orders, (False, True), ("", "!")))
    texts = [kernel(f"k{i}", single(o, kind, m), sign, barrier) for i, (o, m, sign) in enumerate(cases)]
    module = driver.load((HEAD + "".join(texts)).encode())
    for i, (order, mirrored, sign) in enumerate(cases):
        for base, bound in itertools.product(EDGES, EDGES):
            out = np.zeros((ROWS, THREADS), "u4")
            module.launch(f"k{i}", 1, (THREADS, ROWS), out, np.uint32(base), np.uint32(bound))
            want = passing(order, kind, mirrored, sign, base, bound)
            assert np.array_equal(out, want), (order, mirrored, sign, base, bound)


@pytest.mark.parametrize("barrier", ["", BARRIER])
def test_two_comparisons(driver: Driver, barrier: str) -> None:
    module = driver.load((HEAD + kernel("k", TWO, "", barrier)).encode())
    for base, bound in itertools.product(EDGES, EDGES):
        out = np.zeros((ROWS, THREADS), "u4")
        module.launch("k", 1, (THREADS, ROWS), out, np.uint32(base), np.uint32(bound))
        want = passing("lt", "s32", False, "", base, bound)
        want[:, 51:] = 0
        assert np.array_equal(out, want), (base, bound)


@pytest.mark.parametrize("barrier", ["", BARRIER])
def test_a_bound_that_changes_after_the_comparison(driver: Driver, barrier: str) -> None:
    test = single("ge", "s32", False) + " sub.u32 %r2, %r2, 10;"
    module = driver.load((HEAD + kernel("k", test, "", barrier)).encode())
    out = np.zeros((ROWS, THREADS), "u4")
    module.launch("k", 1, (THREADS, ROWS), out, np.uint32(0), np.uint32(60))
    assert np.array_equal(out, passing("ge", "s32", False, "", 0, 60))


@pytest.mark.parametrize("barrier", ["", BARRIER])
@pytest.mark.parametrize(
    ("test", "trimmed"),
    [
        (single("ge", "s32", False), True),
        (TWO, True),
        (single("eq", "s32", False), False),  # the others pass
        ("st.shared.u32 [s], %r3; " + single("ge", "s32", False), False),  # before the guard: all threads do
        ("shl.b32 %r9, %r6, 1; setp.ge.s32 %p1, %r9, %r2;", False),
        ("setp.ge.s32 %p1, %r6, %r3;", False),
    ],
)
def test_where_only_some_run(test: str, trimmed: bool, barrier: str) -> None:
    unit = Unit(Module(HEAD + kernel("k", test, "", barrier)))
    unit.kernel("k")
    assert ("@range" in unit.text()) == trimmed


def test_a_guard_that_a_loop_comes_back_to(driver: Driver) -> None:
    """Each round asks again, of another bound."""
    text = kernel("k", "LOOP: setp.ge.s32 %p1, %r6, %r2;", "", "").replace(
        "DONE:", "sub.u32 %r2, %r2, 1; bra LOOP;\nDONE:"
    )
    module = driver.load((HEAD + text).encode())
    out = np.zeros((ROWS, THREADS), "u4")
    module.launch("k", 1, (THREADS, ROWS), out, np.uint32(0), np.uint32(60))
    at = 3 * np.arange(ROWS)[:, None] + np.arange(THREADS)
    assert np.array_equal(out, np.maximum(60 - at, 0).astype("u4"))
