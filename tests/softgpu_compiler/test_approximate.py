"""The approximate functions over their whole range, with the values at its ends."""

from __future__ import annotations

import numpy as np
import pytest

from tests.softgpu_compiler.device import Driver

TEXT = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n)
{
  .reg .b64 %rd<6>; .reg .b32 %r<6>; .reg .f32 %f<3>; .reg .pred %p;
  mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r4, %r2, %r3, %r1;
  ld.param.u32 %r5, [n]; setp.ge.u32 %p, %r4, %r5; @%p bra done;
  ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; mul.wide.u32 %rd3, %r4, 4;
  add.u64 %rd4, %rd1, %rd3; add.u64 %rd5, %rd2, %rd3;
  ld.global.f32 %f1, [%rd4]; OPCODE.f32 %f2, %f1; st.global.f32 [%rd5], %f2;
done: ret;
}
"""
EDGES = np.array(
    [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2, 1e-40, -1e-40, 3e38, -3e38, 1e-45, 2.0**-126], "f4"
)


def results(driver: Driver, opcode: str, x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    driver.load(TEXT.replace("OPCODE", opcode).encode()).launch(
        "k", len(x) // 64 + 1, 64, x, out, np.int32(len(x))
    )
    return out.astype("f8")


def spread(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(5).uniform(low, high, 20000).astype("f4")


@pytest.mark.parametrize(
    ("opcode", "function", "low", "high", "absolute"),
    [
        ("ex2.approx", np.exp2, -149, 128, 1e-45),
        ("ex2.approx", np.exp2, -1, 1, 0),
        ("lg2.approx", np.log2, 1e-3, 3e38, 0),
        ("lg2.approx", np.log2, 0.5, 2, 0),
        ("lg2.approx", np.log2, 1e-45, 1e-37, 0),
        ("sin.approx", np.sin, -10, 10, 0),
        ("cos.approx", np.cos, -10, 10, 0),
        ("sin.approx", np.sin, -1e6, 1e6, 1e-7),
        ("cos.approx", np.cos, -1e6, 1e6, 1e-7),
        ("tanh.approx", np.tanh, -10, 10, 0),
    ],
)  # fmt: skip
def test_close_to_exact(
    driver: Driver, opcode: str, function: np.ufunc, low: float, high: float, absolute: float
) -> None:
    x = spread(low, high)
    with np.errstate(all="ignore"):
        want = function(x.astype("f8"))
        np.testing.assert_allclose(results(driver, opcode, x), want.astype("f4"), rtol=3e-7, atol=absolute)


@pytest.mark.parametrize(
    ("name", "function"), [("ex2", np.exp2), ("lg2", np.log2), ("sin", np.sin), ("cos", np.cos)]
)
def test_values_at_the_ends(driver: Driver, name: str, function: np.ufunc) -> None:
    edges = EDGES[np.abs(EDGES) < 1e30] if name in ("sin", "cos") else EDGES
    edges = np.concatenate([edges, EDGES[2:5]])
    with np.errstate(all="ignore"):
        want = function(edges.astype("f8")).astype("f4")
        flushed = function(
            np.where(np.abs(edges) < 2.0**-126, np.copysign(0, edges), edges).astype("f8")
        ).astype("f4")
    got = results(driver, f"{name}.approx", edges)
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=1e-45)
    assert np.array_equal(np.signbit(got[:2]), np.signbit(want[:2]))
    flushed = np.where(np.abs(flushed) < 2.0**-126, np.copysign(0, flushed), flushed)
    np.testing.assert_allclose(results(driver, f"{name}.approx.ftz", edges), flushed, rtol=3e-7)
    if name in ("sin", "cos"):
        assert (np.abs(results(driver, f"{name}.approx", np.array([1e20, 3e38, -1e16], "f4"))) <= 1).all()
