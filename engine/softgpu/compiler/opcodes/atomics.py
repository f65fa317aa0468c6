"""atom and red. A block runs on one OS thread, so atomics on shared memory need no lock prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.opcodes import floats
from remora.engine.softgpu.compiler.opcodes.memory import space_of, yield_if_spinning
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Mem, Operand, Sink, Vec
from remora.engine.softgpu.compiler.types import FLOAT, SIZE, is_signed, llvm_type, raw

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

OPERATIONS = "add min max and or xor exch cas inc dec"
MODIFIERS = (
    OPERATIONS
    + " global shared shared::cta shared::cluster relaxed acquire release acq_rel cta cluster gpu sys noftz "
    "L2::cache_hint v2 v4 v8 volatile"
)
TYPES = "b16 b32 u32 s32 b64 u64 s64 f16 f16x2 bf16 bf16x2 f32 f64 b128"
PLAIN = frozenset({"add", "fadd", "and", "or", "xor", "xchg"})


@op("atom", MODIFIERS, TYPES)
def atom(f: FunctionEmitter, x: Instr) -> None:
    """atom.op.type d, [a], b [, c]"""
    yield_if_spinning(f)
    _atomic(f, x, x.args[0], x.args[1], x.args[2:])


@op("red", MODIFIERS, TYPES)
def red(f: FunctionEmitter, x: Instr) -> None:
    """red.op.type [a], b"""
    _atomic(f, x, Sink(), x.args[0], x.args[1:])


def _atomic(f: FunctionEmitter, x: Instr, target: Operand, mem: Operand, sources: list[Operand]) -> None:
    operation, ty, space = x.one_of(*OPERATIONS.split()), x.types()[-1], space_of(x)
    assert isinstance(mem, Mem) and operation
    pointer = f.address(Mem(mem.base, mem.offset), space)
    if ty == "b128" and operation not in ("cas", "exch"):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    if x.has("v2", "v4", "v8"):
        _vector(f, x, operation, ty, space, pointer, target, sources[0])
        return
    f.store(target, *_one(f, operation, ty, space, pointer, sources))


def _vector(
    f: FunctionEmitter,
    x: Instr,
    operation: str,
    ty: str,
    space: str,
    pointer: str,
    target: Operand,
    source: Operand,
) -> None:
    """Each element is atomic by itself, as PTX says."""
    assert isinstance(source, Vec)
    for i, item in enumerate(source.items):
        result = _one(f, operation, ty, space, f.field(pointer, i * SIZE[ty]), [item])
        if isinstance(target, Vec):
            f.store(target.items[i], *result)


def _kind(operation: str, ty: str) -> str:
    """LLVM's name of the operation."""
    floating = ty in FLOAT
    if operation in ("min", "max"):
        return ("f" if floating else "" if is_signed(ty) else "u") + operation
    names = {"add": "fadd" if floating else "add", "exch": "xchg", "inc": "uinc_wrap", "dec": "udec_wrap"}
    return names.get(operation, operation)


def _one(
    f: FunctionEmitter, operation: str, ty: str, space: str, pointer: str, sources: list[Operand]
) -> tuple[str, str]:
    """One atomic operation; returns the type and the old value."""
    if operation in ("exch", "cas", "and", "or", "xor"):
        ty = raw(ty)
    own, align = llvm_type(ty), SIZE[ty]
    value = f.value(sources[0], ty)
    if operation == "cas":
        new = f.value(sources[1], ty)
        pair = f.emit(f"cmpxchg ptr {pointer}, {own} {value}, {own} {new} seq_cst seq_cst, align {align}")
        return ty, f.emit(f"extractvalue {{{own}, i1}} {pair}, 0")
    kind = _kind(operation, ty)
    if space == "shared" and kind in PLAIN and "16" not in ty:
        old = f.load(own, pointer, align)
        new = value if kind == "xchg" else f.emit(f"{kind} {own} {old}, {value}")
        f.do(f"store {own} {new}, ptr {pointer}, align {align}")
        return ty, old
    if "16" in ty and ty in FLOAT:
        return ty, _short_add(f, kind, ty, pointer, value)
    return ty, f.emit(f"atomicrmw {kind} ptr {pointer}, {own} {value} seq_cst, align {align}")


def _short_add(f: FunctionEmitter, kind: str, ty: str, pointer: str, value: str) -> str:
    """f16, bf16 and pairs: LLVM expands these to a loop; only additions exist in PTX."""
    if kind != "fadd":
        raise UnsupportedError(f"atomic {kind} of {ty} is not supported")
    word, own, align = f"i{8 * SIZE[ty]}", llvm_type(ty), SIZE[ty]
    again, done, slot = f.new_label("again"), f.new_label("done"), f.alloca(word)
    f.do(f"store {word} {f.emit(f'load atomic {word}, ptr {pointer} monotonic, align {align}')}, ptr {slot}")
    f.place(again)
    old = f.emit(f"load {word}, ptr {slot}")
    pair = [f.emit(f"bitcast {word} {old} to {own}"), value]
    total = floats.through_f32(f, ty, pair, lambda v: f.emit(f"fadd float {v[0]}, {v[1]}"))
    new = f.emit(f"bitcast {own} {total} to {word}")
    swap = f.emit(f"cmpxchg ptr {pointer}, {word} {old}, {word} {new} seq_cst seq_cst, align {align}")
    f.do(f"store {word} {f.emit(f'extractvalue {{{word}, i1}} {swap}, 0')}, ptr {slot}")
    f.branch_if(f.emit(f"extractvalue {{{word}, i1}} {swap}, 1"), done, again)
    f.place_after(done)
    return f.emit(f"bitcast {word} {f.emit(f'load {word}, ptr {slot}')} to {own}")
