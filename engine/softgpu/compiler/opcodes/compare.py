"""Comparisons and selections: setp, set, selp, slct, mov."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.opcodes.floats import flush, from_bf16
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Pair, Vec
from remora.engine.softgpu.compiler.types import FLOAT, int_type, is_signed, llvm_type, raw

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

INTEGER = {
    "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge",
    "lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge",
}  # fmt: skip
FLOATING = {
    "eq": "oeq", "ne": "one", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "equ": "ueq", "neu": "une",
    "ltu": "ult", "leu": "ule", "gtu": "ugt", "geu": "uge", "num": "ord", "nan": "uno",
}  # fmt: skip
COMPARISONS = " ".join(INTEGER.keys() | FLOATING.keys())
BOOLEANS = ("and", "or", "xor")


def compare(f: FunctionEmitter, comparison: str, ty: str, a: str, b: str) -> str:
    """a ? b as an i1."""
    if ty == "bf16":
        a, b, ty = from_bf16(f, a), from_bf16(f, b), "f32"
    if ty in FLOAT:
        return f.emit(f"fcmp {FLOATING[comparison]} {llvm_type(ty)} {a}, {b}")
    kind = INTEGER[comparison]
    if kind in ("lt", "le", "gt", "ge"):
        kind = ("s" if is_signed(ty) else "u") + kind
    return f.emit(f"icmp {kind} {int_type(ty)} {a}, {b}")


def _compared(f: FunctionEmitter, x: Instr, ty: str) -> tuple[str, str]:
    a, b = (flush(f, x, ty, f.value(v, ty)) if ty in FLOAT else f.value(v, ty) for v in x.args[1:3])
    return a, b


def _boolean(x: Instr) -> str:
    """How a comparison is combined with a predicate."""
    found = x.one_of(*BOOLEANS)
    assert found and len(x.args) == 4
    return found


@op("setp", COMPARISONS + " and or xor ftz")
def setp(f: FunctionEmitter, x: Instr) -> None:
    """setp.cmp p|q, a, b [, c]: p = (a cmp b) bool c, q = !(a cmp b) bool c"""
    ty, target = x.types()[-1], x.args[0]
    comparison = x.parts[1]
    a, b = _compared(f, x, ty)
    if ty in ("f16x2", "bf16x2"):
        _setp_pair(f, comparison, ty, a, b, target)
        return
    yes = compare(f, comparison, ty, a, b)
    no = f.emit(f"xor i1 {yes}, true") if isinstance(target, Pair) else ""
    if len(x.args) > 3:
        other, boolean = f.value(x.args[3], "pred"), _boolean(x)
        yes = f.emit(f"{boolean} i1 {yes}, {other}")
        no = f.emit(f"{boolean} i1 {no}, {other}") if no else ""
    if isinstance(target, Pair):
        f.store(target.first, "pred", yes)
        f.store(target.second, "pred", no)
    else:
        f.store(target, "pred", yes)


def _setp_pair(f: FunctionEmitter, comparison: str, ty: str, a: str, b: str, target: object) -> None:
    assert isinstance(target, Pair)
    own = llvm_type(ty)
    for i, register in enumerate((target.first, target.second)):
        halves = [f.emit(f"extractelement {own} {v}, i32 {i}") for v in (a, b)]
        f.store(register, "pred", compare(f, comparison, ty[:-2], *halves))


@op("set", COMPARISONS + " and or xor ftz")
def set_(f: FunctionEmitter, x: Instr) -> None:
    """set.cmp.dtype.stype d, a, b [, c]: all ones (or 1.0) and zero."""
    out, ty = x.types()
    a, b = _compared(f, x, ty)
    if ty.endswith("x2"):
        _set_pair(f, x, out, ty, a, b)
        return
    yes = compare(f, x.parts[1], ty, a, b)
    if len(x.args) > 3:
        yes = f.emit(f"{_boolean(x)} i1 {yes}, {f.value(x.args[3], 'pred')}")
    if out in FLOAT:
        f.store(x.args[0], out, f.emit(f"uitofp i1 {yes} to {llvm_type(out)}"))
    else:
        f.store(x.args[0], out, f.emit(f"sext i1 {yes} to {int_type(out)}"))


def _set_pair(f: FunctionEmitter, x: Instr, out: str, ty: str, a: str, b: str) -> None:
    """Both halves of f16x2 or bf16x2: 1.0 each, or 0xffff each for integer results."""
    one = {"f16x2": 0x3C00, "bf16x2": 0x3F80}.get(out, 0xFFFF)
    own, result = llvm_type(ty), "0"
    for i in (0, 1):
        halves = [f.emit(f"extractelement {own} {v}, i32 {i}") for v in (a, b)]
        yes = compare(f, x.parts[1], ty[:-2], *halves)
        result = f.emit(f"or i32 {result}, {f.select(yes, 'i32', str(one << 16 * i), '0')}")
    f.store(x.args[0], "b32", result)


@op("selp")
def selp(f: FunctionEmitter, x: Instr) -> None:
    """selp d, a, b, p"""
    ty = raw(x.types()[-1])
    condition = f.value(x.args[3], "pred")
    if f.is_pointer(x.args[0]):
        f.store_pointer(x.args[0], f.select(condition, "ptr", f.pointer(x.args[1]), f.pointer(x.args[2])))
        return
    a, b = f.value(x.args[1], ty), f.value(x.args[2], ty)
    f.store(x.args[0], ty, f.select(condition, int_type(ty), a, b))


@op("slct", "ftz")
def slct(f: FunctionEmitter, x: Instr) -> None:
    """slct d, a, b, c: c >= 0 ? a : b"""
    ty, control = x.types()
    value = f.value(x.args[3], control)
    zero = "0.0" if control == "f32" else "0"
    condition = compare(f, "ge", control, flush(f, x, control, value) if control == "f32" else value, zero)
    own = raw(ty)
    f.store(
        x.args[0], own, f.select(condition, int_type(own), f.value(x.args[1], own), f.value(x.args[2], own))
    )


@op("mov")
def mov(f: FunctionEmitter, x: Instr) -> None:
    """mov d, a: registers, special registers, addresses, packing and unpacking."""
    ty, target, source = raw(x.types()[-1]), x.args[0], x.args[1]
    if f.is_pointer(target):
        f.store_pointer(target, f.pointer(source))
        return
    if isinstance(source, Vec) and len(source.items) == 1:
        source = source.items[0]
    f.store(target, ty, f.value(source, ty))
