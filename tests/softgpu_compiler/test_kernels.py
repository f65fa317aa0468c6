"""Textbook kernels from nvcc on the software GPU, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.programs.toolchain import build
from tests.softgpu_compiler.conftest import SOURCE
from tests.softgpu_compiler.device import Driver, DriverError, Module

RNG = np.random.default_rng(1)
N = 10007
I32 = np.int32
BLOCKS = (N + 255) // 256


def uniform(n: int = N, dtype: str = "f4") -> np.ndarray:
    return RNG.random(n).astype(dtype)


def integers(low: int, high: int, n: int = N, dtype: str = "i4") -> np.ndarray:
    return RNG.integers(low, high, n).astype(dtype)


def zeros(n: int, dtype: str = "i4") -> np.ndarray:
    return np.zeros(n, dtype)


def test_vector_add(kernels: Module) -> None:
    a, b, c = uniform(), uniform(), zeros(N, "f4")
    kernels.launch("vector_add", BLOCKS, 256, a, b, c, I32(N))
    assert np.array_equal(c, a + b)


def test_grid_stride(kernels: Module) -> None:
    x, y = uniform(dtype="f8"), uniform(dtype="f8")
    want = 2.5 * x + y
    kernels.launch("grid_stride", 3, 64, x, y, np.float64(2.5), I32(N))
    assert np.allclose(y, want, rtol=1e-15)


def test_every_block_runs_once(kernels: Module) -> None:
    """Threads take blocks in ranges, and give back what is left of one that lasts too long."""
    rounds, runs, sink = integers(0, 3, 20000), zeros(20000), zeros(20000, "f4")
    rounds[5000::700] = 1 << 20
    kernels.launch("uneven", len(rounds), 1, rounds, runs, sink)
    assert (runs == 1).all()


def test_reduce_shared(kernels: Module) -> None:
    x, out = uniform(), zeros(BLOCKS, "f4")
    kernels.launch("reduce_shared", BLOCKS, 256, x, out, I32(N), shared=1024)
    padded = np.zeros(BLOCKS * 256, "f4")
    padded[:N] = x
    assert np.allclose(out, padded.reshape(-1, 256).sum(1), rtol=1e-5)


def test_matmul_tiled(kernels: Module) -> None:
    n = 75
    a, b, c = (uniform(n * n).reshape(n, n) for _ in range(3))
    kernels.launch("matmul_tiled", (5, 5), (16, 16), a, b, c, I32(n))
    assert np.allclose(c, a @ b, rtol=1e-5)


def test_scan(kernels: Module) -> None:
    x, y = integers(0, 100, 4096), zeros(4096)
    kernels.launch("scan_block", 16, 256, x, y)
    assert np.array_equal(y.reshape(16, 256), np.cumsum(x.reshape(16, 256), 1))


def test_votes(kernels: Module) -> None:
    p, ballot, any_, all_ = integers(0, 8, 2048), zeros(64, "u4"), zeros(64), zeros(64)
    match = zeros(2048, "u4")
    kernels.launch("votes", 8, 256, p, ballot, any_, all_, match)
    rows, powers = p.reshape(-1, 32), 1 << np.arange(32, dtype=np.uint64)
    assert np.array_equal(ballot, ((rows > 3) * powers).sum(1).astype("u4"))
    assert np.array_equal(any_, (rows > 6).any(1)) and np.array_equal(all_, (rows < 7).all(1))
    same = ((rows[:, :, None] == rows[:, None, :]) * powers).sum(2).astype("u4")
    assert np.array_equal(match, same.ravel())


def test_partial_masks_and_tiles(kernels: Module) -> None:
    out, t = zeros(32), np.arange(32)
    kernels.launch("partial_masks", 1, 32, out)
    assert np.array_equal(out, np.where(t < 16, (t ^ 1) * 10, 3100))
    out = zeros(8)
    kernels.launch("tiles", 1, 64, out)
    assert np.array_equal(out, np.arange(64).reshape(8, 8).sum(1))


@pytest.mark.parametrize("x", [np.arange(32), np.arange(32) * 2, np.arange(32) * 2 + 1])
def test_barrier_reductions(kernels: Module, x: np.ndarray) -> None:
    out = zeros(96, "u4")
    kernels.launch("redux", 1, 32, x.astype("u4"), out)
    odd = x & 1
    assert np.array_equal(
        out.reshape(3, 32), np.outer([odd.sum(), bool(odd.all()), bool(odd.any())], np.ones(32, "u4"))
    )


def test_divergent_barrier_and_early_exit(kernels: Module) -> None:
    out, t = zeros(64), np.arange(64)
    kernels.launch("divergent_barrier", 1, 64, out)
    assert np.array_equal(out, 63 - t + 100 * (t >= 32))
    out = zeros(64)
    kernels.launch("early_exit", 1, 64, out)
    assert np.array_equal(out, np.where(t < 48, 47 - t, 0))


def test_waiting_for_each_other(kernels: Module) -> None:
    lock, count = zeros(1), zeros(1)
    kernels.launch("spin_lock", 8, 64, lock, count)
    assert count[0] == 512 and lock[0] == 0
    flag, out = zeros(8), zeros(8)
    kernels.launch("producer", 8, 256, flag, out)
    assert np.array_equal(out, np.arange(8) + 7)
    state, out = zeros(300), zeros(300)
    kernels.launch("look_back", 300, 32, state, out)
    assert np.array_equal(out, np.arange(300) + 1)


def test_histogram(kernels: Module) -> None:
    data, counts = integers(0, 256, N, "u1"), zeros(256, "u4")
    kernels.launch("histogram", 8, 128, data, counts, I32(N))
    assert np.array_equal(counts, np.bincount(data, minlength=256))


def test_atomics(kernels: Module) -> None:
    n = 3000
    x = integers(-1000, 1000, n)
    i, u, big = zeros(4), np.array([~0 & 0xFFFFFFFF, 0, 0, 0, 0], "u4"), zeros(2, "u8")
    f, d = zeros(1, "f4"), zeros(1, "f8")
    kernels.launch("atomics", 12, 256, x, i, u, big, f, d, I32(n))
    assert list(i) == [x.sum(), -x.sum(), min(0, x.min()), max(0, x.max())]
    as_unsigned = x.astype("u4")
    assert u[0] == np.bitwise_and.reduce(as_unsigned | 0xFF00)
    assert u[1] == np.bitwise_or.reduce(np.uint32(1) << (as_unsigned & 31)) and u[2] == np.bitwise_xor.reduce(
        as_unsigned
    )
    assert u[3] == n % 100 and u[4] == (-n) % 50
    assert big[0] == (np.arange(n, dtype="u8") << np.uint64(20)).sum() and big[1] == (n - 1) << 33
    assert f[0] == n / 2 and d[0] == n / 4


def test_float_functions(kernels: Module) -> None:
    x, y = RNG.standard_normal(N), zeros(N, "f8")
    x[:3] = [1e6, -123456.7, 0]
    kernels.launch("doubles", BLOCKS, 256, x, y, I32(N))
    want = np.sin(x) * np.exp(-x * x) + np.sqrt(abs(x)) / (1 + x * x) + (abs(x) + 0.5) ** 1.7
    assert np.allclose(y, want, rtol=1e-12, atol=1e-13)
    x32, y32 = RNG.standard_normal(N).astype("f4"), zeros(N, "f4")
    kernels.launch("floats", BLOCKS, 256, x32, y32, I32(N))
    x = x32.astype("f8")
    want = np.log(1 + x * x) + np.exp(-abs(x)) + np.cos(x) + np.tanh(x) + x / 3 + 1 / np.sqrt(1 + x * x)
    assert np.allclose(y32, want, rtol=2e-6, atol=1e-6)


def test_halves(kernels: Module) -> None:
    x, y = uniform(dtype="f2"), uniform(dtype="f2")
    fused = (x.astype("f8") * 1.5 + y.astype("f8")).astype("f2")
    stepwise = (x * np.float16(1.5)) + y
    kernels.launch("halves", BLOCKS, 256, x, y, I32(N))
    assert np.array_equal(y, fused) or np.array_equal(y, stepwise)


def test_longs(kernels: Module) -> None:
    a, b = integers(-(10**15), 10**15, N, "i8"), integers(1, 10**6, N, "i8") * RNG.choice([-1, 1], N)
    c = zeros(N, "i8")
    kernels.launch("longs", BLOCKS, 256, a, b, c, I32(N))
    quotient = np.array(
        [
            int(math.copysign(abs(int(p)) // abs(int(q)), int(p) * int(q) or 1))
            for p, q in zip(a, b, strict=True)
        ]
    )
    high = np.array([(int(p) * int(q)) >> 64 for p, q in zip(a, b, strict=True)])
    assert np.array_equal(c, quotient + (a - quotient * b) * 3 + high + (a >> 7) - (b << 3))


def test_bits(kernels: Module) -> None:
    x, y = integers(0, 2**32, 256, "u4"), zeros(256, "u4")
    x[:3] = [0, 1, 2**32 - 1]
    kernels.launch("bits", 1, 256, x, y)

    def want(v: int) -> int:
        bytes8 = (v | (~v & 0xFFFFFFFF) << 32).to_bytes(8, "little")
        perm = int.from_bytes(bytes([bytes8[5], bytes8[1], bytes8[7], bytes8[3]]), "little")
        first = (v & -v).bit_length()
        both = ((v + 1 & 0xFFFFFFFF) << 32 | v) << 5 >> 32 & 0xFFFFFFFF
        turned = int(f"{v:032b}"[::-1], 2)
        return (
            v.bit_count() + 100 * (32 - v.bit_length()) + 10000 * first + (turned ^ perm) + both & 0xFFFFFFFF
        )

    assert [int(v) for v in y] == [want(int(v)) for v in x]


def test_switch(kernels: Module) -> None:
    x, y, i = integers(-1, 9), zeros(N), np.arange(N)
    kernels.launch("switches", BLOCKS, 256, x, y, I32(N))
    cases = [np.full(N, 5), x * 7 + i, i * i, -i, i ^ 99, i // 3, i % 5, 1 << (i & 7)]
    assert np.array_equal(y, np.select([x == k for k in range(8)], cases, -1))


def test_calls(kernels: Module) -> None:
    t = np.arange(32)
    order, out = integers(0, 99, 32), zeros(32)
    kernels.launch("local_array", 1, 32, order, out)
    assert np.array_equal(out, (order & 15) * t)
    a, b, out = integers(0, 10000, 32), integers(0, 10000, 32), zeros(32)
    kernels.launch("recursion", 1, 32, a, b, out)
    assert np.array_equal(out, np.gcd(a, b))
    sums = zeros(64, "f4")
    kernels.launch("waiting_function", 1, 64, sums)
    assert np.array_equal(sums, np.full(64, 64 * 2016 + 2016))
    kernels.launch("function_table", 1, 32, out)
    assert np.array_equal(out, np.where(t & 1, 2 * t, t + 1))
    kernels.launch("virtual_calls", 1, 32, out)
    assert np.array_equal(out, np.where(t & 1, t * t, t))


def test_module_variables_are_shared_by_kernels(kernels: Module) -> None:
    out, before, after = zeros(8, "f4"), zeros(1), zeros(1)
    kernels.launch("read_counter", 1, 1, before)
    kernels.launch("variables", 1, 8, out)
    kernels.launch("read_counter", 1, 1, after)
    assert np.array_equal(out, np.array([1, 2, 3, 4] * 2)) and after[0] == before[0] + 8 and before[0] >= 7


def test_parameters_by_value(kernels: Module) -> None:
    pair = np.zeros(1, np.dtype([("c", "i1"), ("d", "f8"), ("s", "i2", 3)], align=True))
    pair[0] = (-3, 2.5, (1, 2, 3))
    out = zeros(5, "f8")
    kernels.launch("by_value", 1, 1, pair.tobytes(), np.int8(-7), out, np.array([4, -5, 6], "i2").tobytes())
    assert list(out) == [-3, 2.5, 321, -7, -26]


def test_coordinates(kernels: Module) -> None:
    grid, block = (3, 2, 2), (4, 3, 2)
    out = zeros(12 * 24)
    kernels.launch("where_am_i", grid, block, out)
    assert np.array_equal(out.reshape(12, 24), np.arange(12)[:, None] * 1000 + np.arange(24))


def test_printf(kernels: Module, capfd: pytest.CaptureFixture[str]) -> None:
    kernels.launch("prints", 1, 32, I32(42))
    assert "42 text  1.50 1099511627776 x%\n" in capfd.readouterr().out


def test_device_heap(kernels: Module) -> None:
    out = zeros(32)
    kernels.launch("heap", 1, 32, out)
    assert np.array_equal(out, 28 * np.arange(32))


def test_waiting_with_a_plain_atomic(kernels: Module) -> None:
    count = zeros(1)
    kernels.launch("atomic_wait", 1, 96, count)
    assert count[0] == 96
    flag, out = zeros(1), zeros(1)
    kernels.launch("fence_wait", 1, 256, flag, out)
    assert out[0] == 9


def test_matrix_fragments(driver: Driver) -> None:
    image = build(SOURCE, "-fatbin", "-gencode=arch=compute_80,code=compute_80").read_bytes()
    a, b = RNG.standard_normal((16, 16)).astype("f2"), RNG.standard_normal((16, 8)).astype("f2")
    c = np.zeros((16, 8), "f4")
    driver.load(image).launch("tensor_tile", 1, 32, a, b, c)
    start = np.tile(np.array([[1, 2], [3, 4]], "f4").repeat(8, 0), (1, 4))
    assert np.allclose(c, a.astype("f4") @ b.astype("f4") + start, atol=1e-4)


STATIC = b""".version 8.0
.target sm_75
.address_size 64
.visible .entry count(.param .u64 out)
{
  .global .align 4 .u32 calls = 40;
  .reg .b64 %rd<2>; .reg .b32 %r<3>;
  ld.param.u64 %rd1, [out];
  atom.global.add.u32 %r1, [calls], 1;
  add.u32 %r2, %r1, 1;
  st.global.u32 [%rd1], %r2;
  ret;
}
.func leave() { exit; }
.func deeper() { call leave, (); ret; }
.visible .entry exits(.param .u64 out)
{
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [out];
  st.global.u32 [%rd1], 1;
  call deeper, ();
  st.global.u32 [%rd1], 2;
  ret;
}
.visible .entry traps() { trap; }
"""


def test_variables_of_a_function_and_exit_from_any_depth(driver: Driver) -> None:
    module, out = driver.load(STATIC), zeros(1)
    module.launch("count", 1, 1, out)
    module.launch("count", 1, 1, out)
    assert out[0] == 42
    module.launch("exits", 1, 1, out)
    assert out[0] == 1


def test_refusals_reach_the_program(driver: Driver) -> None:
    bad = STATIC.replace(b"trap;", b"\n  wgmma.fence.sync.aligned;")
    with pytest.raises(DriverError) as caught:
        driver.load(bad).launch("traps", 1, 1)
    assert caught.value.code == 218
    with pytest.raises(DriverError) as caught:
        driver.load(build(SOURCE, "-cubin", "-arch=sm_80").read_bytes())
    assert caught.value.code == 209
