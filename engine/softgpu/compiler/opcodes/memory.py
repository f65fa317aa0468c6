"""Loads, stores, asynchronous copies (done at once) and fences. Device memory is this process's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.opcodes import warp
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Int, Mem, Not, Operand, Reg, Sink, Sym, Vec
from remora.engine.softgpu.compiler.types import SIZE, bits, is_signed, raw

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

SPACES = ("global", "shared", "local", "param", "const")
WHERE = "global shared shared::cta shared::cluster local param param::entry param::func const"
CACHE = (
    "ca cg cs lu cv wb wt nc weak volatile relaxed acquire release cta cluster gpu sys mmio v2 v4 v8 "
    "L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate L2::evict_normal "
    "L2::evict_last L2::evict_first L2::cache_hint L2::64B L2::128B L2::256B unified"
)
ORDERED = ("volatile", "relaxed", "acquire", "release", "mmio")


def space_of(x: Instr) -> str:
    """The state space an instruction names, or "generic"."""
    for part in x.parts[1:]:
        name = part.split("::")[0]
        if name in SPACES:
            return name
    return "generic"


def yield_if_spinning(f: FunctionEmitter) -> None:
    """In a loop that may wait for another thread, let the others run first."""
    if f.unit.coroutine and f.kernel and f.index in f.scope.spins:
        f.suspend("yield")


def keep_in_step(f: FunctionEmitter) -> None:
    """A volatile access to shared memory comes after those before it in all lanes that run together."""
    if f.unit.coroutine and f.kernel and f.index in f.scope.in_step and f.index not in f.scope.spins:
        warp.in_step(f)


def _lanes(x: Instr, operand: Operand) -> list[Operand]:
    return operand.items if isinstance(operand, Vec) else [operand]


def _is_constant(f: FunctionEmitter, x: Instr, space: str) -> bool:
    """Memory that nobody writes while the kernel runs."""
    mem = x.args[1]
    entry_param = (
        space == "param" and f.kernel and not f.scope.prefix and isinstance(mem, Mem)
        and isinstance(mem.base, Sym)
        and mem.base.name in f.unit.param_offset and mem.base.name not in f.scope.memory
    )  # fmt: skip
    return space == "const" or x.has("nc") or entry_param


@op("ld ldu", WHERE + " " + CACHE)
def ld(f: FunctionEmitter, x: Instr) -> None:
    """ld.space.type d, [a]"""
    space, ty = space_of(x), x.types()[-1]
    size = SIZE[ty]
    pointer = f.address(_without_hint(x.args[1]), space)
    yield_if_spinning(f)
    keep_in_step(f)
    if f.is_pointer(x.args[0]):
        f.store_pointer(x.args[0], f.load("ptr", pointer, 8, _is_constant(f, x, space)))
        return
    kind = ty if is_signed(ty) else raw(ty)
    for i, target in enumerate(_lanes(x, x.args[0])):
        if isinstance(target, Sink):
            continue
        place = f.field(pointer, i * size)
        if x.has(*ORDERED) and space in ("global", "generic") and size <= 8:
            order = "acquire" if x.has("acquire") else "monotonic"
            value = f.emit(f"load atomic volatile i{8 * size}, ptr {place} {order}, align {size}")
        elif x.has(*ORDERED):
            value = f.emit(f"load volatile i{8 * size}, ptr {place}, align {size}")
        else:
            value = f.load(f"i{8 * size}", place, size, _is_constant(f, x, space))
        f.store(target, kind, value)


def _without_hint(mem: Operand) -> Operand:
    """The address without a cache policy behind it."""
    return Mem(mem.base, mem.offset) if isinstance(mem, Mem) else mem


@op("st", WHERE + " " + CACHE)
def st(f: FunctionEmitter, x: Instr) -> None:
    """st.space.type [a], b"""
    space, ty = space_of(x), raw(x.types()[-1])
    size = SIZE[ty]
    pointer = f.address(_without_hint(x.args[0]), space)
    keep_in_step(f)
    vector = x.has("v2", "v4", "v8")
    source = x.args[1]
    values = _lanes(x, source) if vector or (isinstance(source, Vec) and len(source.items) == 1) else [source]
    for i, operand in enumerate(values):
        value = f.value(operand, ty)
        place = f.field(pointer, i * size)
        if x.has(*ORDERED) and space in ("global", "generic") and size <= 8:
            order = "release" if x.has("release") else "monotonic"
            f.do(f"store atomic volatile i{bits(ty)} {value}, ptr {place} {order}, align {size}")
        else:
            volatile = "volatile " if x.has(*ORDERED) else ""
            f.do(f"store {volatile}i{bits(ty)} {value}, ptr {place}, align {size}")


@op("cp", "async ca cg commit_group wait_group wait_all " + WHERE + " " + CACHE)
def cp_async(f: FunctionEmitter, x: Instr) -> None:
    """cp.async.ca.shared.global [d], [s], size [, source size]: copied when issued."""
    if x.parts[1] != "async":
        raise UnsupportedError(f"instruction {x.op} is not supported")
    if x.has("commit_group", "wait_group", "wait_all"):
        return
    size_operand = x.args[2]
    assert isinstance(size_operand, Int) and isinstance(size_operand.value, int)
    target, source = f.address(x.args[0], "shared"), f.address(x.args[1], "global")
    size = str(size_operand.value)
    if len(x.args) > 3 and not x.has("L2::cache_hint"):  # the rest is filled with zeros
        f.call("llvm.memset.p0.i64", "void", ("ptr", target), ("i8", "0"), ("i64", size), ("i1", "false"))
        size = _source_size(f, x.args[3], size)
    f.call("llvm.memcpy.p0.p0.i64", "void", ("ptr", target), ("ptr", source), ("i64", size), ("i1", "false"))


def _source_size(f: FunctionEmitter, operand: Operand, most: str) -> str:
    """The number of bytes to read, or a predicate that says to read none."""
    if isinstance(operand, Not) or (isinstance(operand, Reg) and f.slot(operand.name)[1] == "pred"):
        return f.select(f.value(operand, "pred"), "i64", "0", most)
    size = f.resize(f.value(operand, "u32"), 32, 64)
    return f.call("llvm.umin.i64", "i64", ("i64", size), ("i64", most))


FENCES = (
    "cta cluster gpu gl sys sc acq_rel acquire release proxy alias async tensormap::generic mbarrier_init"
)


@op("membar fence", FENCES + " " + WHERE)
def fence(f: FunctionEmitter, x: Instr) -> None:
    """membar, fence"""
    f.do("fence seq_cst")
