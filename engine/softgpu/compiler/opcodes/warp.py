"""Operations among threads: barriers, shuffles, votes, reductions, matrix fragments.

Each writes its operands into the thread's record and suspends; the block scheduler computes the results
for all lanes at once (../../kernel_abi.h, struct rm_thread).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler import abi, special
from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Int, Operand, Pair, Vec
from remora.engine.softgpu.compiler.types import SIZE, bits

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

FULL_MASK = Int(0xFFFFFFFF)
SHAPES = {f"m{m}n8k{k}": (m, k) for _, _, m, ks in abi.MMA_SHAPES for k in ks}  # of mma


# -- block barriers


@op("bar", "sync arrive red popc and or warp cta", "u32 pred")
@op("barrier", "sync arrive red popc and or cta aligned cluster wait acquire release relaxed", "u32 pred")
def bar(f: FunctionEmitter, x: Instr) -> None:
    """bar.sync, bar.arrive, bar.red, bar.warp.sync, and their barrier forms"""
    if x.has("warp"):
        warp_operation(f, "sync", x.args[0])
    elif x.has("cluster"):  # a cluster is one block: arrive is free, wait is a barrier
        if not x.has("arrive"):
            _barrier(f, "sync", "0", "0")
    elif x.has("arrive"):
        number, count = (f.value(a, "u32") for a in x.args)
        f.call("rm_bar_arrive", "void", ("ptr", "%block"), ("i32", number), ("i32", count))
    elif x.has("red"):
        _reduce(f, x)
    else:
        number = f.value(x.args[0], "u32") if x.args else "0"
        _barrier(f, "sync", number, f.value(x.args[1], "u32") if len(x.args) > 1 else "0")


def _barrier(f: FunctionEmitter, kind: str, number: str, count: str) -> None:
    f.set_thread_field("barrier", "i32", number)
    f.set_thread_field("barrier_count", "i32", count)
    f.set_thread_field("op", "i32", str(abi.BARRIER[kind]))
    f.suspend("barrier")


def _reduce(f: FunctionEmitter, x: Instr) -> None:
    """bar.red.op d, number [, count], predicate"""
    number = f.value(x.args[1], "u32")
    count = f.value(x.args[2], "u32") if len(x.args) == 4 else "0"
    f.set_thread_field("a", "i64", f.resize(f.value(x.args[-1], "pred"), 1, 64))
    _barrier(f, x.one_of("popc", "and", "or"), number, count)
    ty = x.types()[-1]
    f.store(x.args[0], ty, f.resize(f.thread_field("result", "i64"), 64, bits(ty)))


# -- warp operations


def warp_operation(f: FunctionEmitter, name: str, mask: Operand, **operands: str) -> str:
    """Suspend for a warp operation with i64 operands a, b, c; returns the low word of the result."""
    f.set_thread_field("op", "i32", str(abi.WARP[name]))
    for field, value in operands.items():
        f.set_thread_field(field, "i64", value)
    f.set_thread_field("mask", "i32", f.value(mask, "u32"))
    f.suspend("warp")
    return f.resize(f.thread_field("result", "i64"), 64, 32)


def _wide(f: FunctionEmitter, operand: Operand, ty: str = "u32") -> str:
    return f.resize(f.value(operand, ty), bits(ty), 64)


def _store_with_predicate(f: FunctionEmitter, target: Operand, result: str) -> None:
    """d or d|p"""
    if isinstance(target, Pair):
        f.store(target.second, "pred", f.resize(f.thread_field("predicate"), 32, 1))
        target = target.first
    f.store(target, "b32", result)


@op("shfl", "sync up down bfly idx", "b32")
def shfl(f: FunctionEmitter, x: Instr) -> None:
    """shfl.sync.mode d|p, a, b, c, mask"""
    mode = x.one_of("up", "down", "bfly", "idx")
    a, b, c = (_wide(f, v) for v in x.args[1:4])
    mask = x.args[4] if len(x.args) > 4 else FULL_MASK
    _store_with_predicate(f, x.args[0], warp_operation(f, mode, mask, a=a, b=b, c=c))


@op("vote", "sync all any uni ballot", "pred b32")
def vote(f: FunctionEmitter, x: Instr) -> None:
    """vote.sync.mode d, predicate, mask"""
    mask = x.args[2] if len(x.args) > 2 else FULL_MASK
    result = warp_operation(f, x.one_of("all", "any", "uni", "ballot"), mask, a=_wide(f, x.args[1], "pred"))
    if x.has("ballot"):
        f.store(x.args[0], "b32", result)
    else:
        f.store(x.args[0], "pred", f.resize(result, 32, 1))


@op("match", "sync any all", "b32 b64")
def match(f: FunctionEmitter, x: Instr) -> None:
    """match.any.sync d, a, mask and match.all.sync d|p, a, mask"""
    name = "match_" + x.one_of("any", "all")
    _store_with_predicate(
        f, x.args[0], warp_operation(f, name, x.args[2], a=_wide(f, x.args[1], x.types()[0]))
    )


@op("redux", "sync add min max and or xor", "u32 s32 b32")
def redux(f: FunctionEmitter, x: Instr) -> None:
    """redux.sync.op d, a, mask"""
    name = x.one_of("add", "min", "max", "and", "or", "xor")
    if name in ("min", "max"):
        name += "_s" if x.types()[0] == "s32" else "_u"
    f.store(x.args[0], "b32", warp_operation(f, name, x.args[2], a=_wide(f, x.args[1])))


@op("activemask", "", "b32")
def activemask(f: FunctionEmitter, x: Instr) -> None:
    """The lanes that come here together; in a function behind a pointer the caller alone."""
    if f.unit.coroutine and f.kernel:
        f.store(x.args[0], "b32", in_step(f))
    else:
        f.store(x.args[0], "b32", f.emit(f"shl i32 1, {special.lane(f)}"))


def in_step(f: FunctionEmitter) -> str:
    """Wait until no lane of the warp can go on without those that wait here; returns the mask of these."""
    f.set_thread_field("op", "i32", str(abi.WARP["active"]))
    f.count += 1
    f.set_thread_field("mask", "i32", str(f.count))
    f.suspend("warp")
    return f.resize(f.thread_field("result", "i64"), 64, 32)


@op("elect", "sync")
def elect(f: FunctionEmitter, x: Instr) -> None:
    """elect.sync d|p, mask: the lowest lane of the mask leads."""
    mask = f.value(x.args[1], "u32")
    leader = f.call("llvm.cttz.i32", "i32", ("i32", mask), ("i1", "false"))
    warp_operation(f, "sync", x.args[1])
    assert isinstance(x.args[0], Pair)
    f.store(x.args[0].first, "b32", leader)
    f.store(x.args[0].second, "pred", f.emit(f"icmp eq i32 {special.lane(f)}, {leader}"))


@op("nanosleep", "", "u32")
def nanosleep(f: FunctionEmitter, x: Instr) -> None:
    """Let the others run."""
    if f.unit.coroutine and f.kernel:
        f.suspend("yield")


# -- matrix fragments


def _collective(
    f: FunctionEmitter,
    name: str,
    inputs: list[str],
    outputs: list[Operand],
    b: int,
    c: int,
    register: str = "b32",
) -> None:
    """A whole-warp operation whose registers go through the thread's values."""
    place, width = abi.THREAD["values"], SIZE[register]
    for i, value in enumerate(inputs):
        f.do(f"store i{8 * width} {value}, ptr {f.field('%thread', place + width * i)}")
    f.set_thread_field("b", "i64", str(b))
    f.set_thread_field("c", "i64", str(c))
    f.set_thread_field("op", "i32", str(abi.WARP[name]))
    f.set_thread_field("mask", "i32", "-1")
    f.suspend("warp")
    for i, output in enumerate(outputs):
        f.store(output, register, f.load(f"i{8 * width}", f.field("%thread", place + width * i), width))


def _items(operand: Operand) -> list[Operand]:
    return operand.items if isinstance(operand, Vec) else [operand]


@op("ldmatrix", "sync aligned m8n8 x1 x2 x4 trans shared shared::cta", "b16")
def ldmatrix(f: FunctionEmitter, x: Instr) -> None:
    """ldmatrix: 8x8 matrices of 16-bit elements; lane i gives the address of row i."""
    outputs = _items(x.args[0])
    if len(outputs) != {"x1": 1, "x2": 2, "x4": 4}[x.one_of("x1", "x2", "x4")]:
        raise UnsupportedError(f"instruction {x.op} is not supported")
    row = f.emit(f"ptrtoint ptr {f.address(x.args[1], 'shared')} to i64")
    f.set_thread_field("a", "i64", row)
    _collective(f, "ldmatrix", [], outputs, len(outputs), int(x.has("trans")))


@op(
    "mma",
    "sync aligned row col satfinite kind::f8f6f4 " + " ".join(SHAPES),
    "f16 bf16 tf32 f32 f64 e4m3 e5m2 s8 u8 s32",
)
def mma(f: FunctionEmitter, x: Instr) -> None:
    """mma.sync.shape.row.col.D.A.B.C d, a, b, c"""
    d, a, b, c = x.types()
    m, k = SHAPES[x.one_of(*SHAPES)]
    if (
        not any(
            a in ab.split() and b in ab.split() and c in cd.split() and m == rows and k in ks
            for ab, cd, rows, ks in abi.MMA_SHAPES
        )
        or c != d
        or x.parts.index("row") > x.parts.index("col")
        or (x.has("satfinite") and c != "s32")
    ):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    register = "b64" if c == "f64" else "b32"
    inputs = [v for operand in x.args[1:4] for v in _items(operand)]
    bits_in_all = m * k * bits(a) + k * 8 * bits(b) + m * 8 * bits(c)
    if len(inputs) * 32 * bits(register) != bits_in_all:
        raise ValueError(len(inputs))
    values = [f.value(v, register) for v in inputs]
    shape = m | k << 8 | abi.MMA[a] << 16 | abi.MMA[b] << 24 | abi.MMA[c] << 32 | x.has("satfinite") << 40
    _collective(f, "mma", values, _items(x.args[0]), shape, 0, register)
