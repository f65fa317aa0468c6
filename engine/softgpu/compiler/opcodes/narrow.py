"""cvt to and from floats of 16 bits and less, where LLVM has no instruction: by the runtime's rm_narrow and
rm_widen (../../narrow.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler import abi
from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.opcodes import floats
from remora.engine.softgpu.compiler.syntax import Instr
from remora.engine.softgpu.compiler.types import bits, is_signed, llvm_type

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

#: Pairs of floats of 8 bits and less: (name in abi.NARROW, bits of one).
TINY = {
    "e4m3x2": ("e4m3", 8), "e5m2x2": ("e5m2", 8), "ue8m0x2": ("ue8m0", 8),
    "e2m3x2": ("e2m3", 8), "e3m2x2": ("e3m2", 8), "e2m1x2": ("e2m1", 4),
}  # fmt: skip
FROM = {"ue8m0x2": ("f32", "bf16x2")}  # the others: from f32 and f16x2
TO = {"ue8m0x2": "bf16x2"}  # the others: to f16x2


def shorten(f: FunctionEmitter, x: Instr, out: str, value: str) -> str:
    """double -> f16 or bf16, in the instruction's rounding mode and with its .satfinite."""
    return f.cast(_code(f, x, out, value), "i16", llvm_type(out))


def from_integer(f: FunctionEmitter, x: Instr, out: str, ty: str, value: str) -> str:
    """An integer -> f16 or bf16, rounded once."""
    wide = f.resize(value, bits(ty), 64, is_signed(ty))
    odd = f.call("rm_odd_i64", "double", ("i32", str(int(is_signed(ty)))), ("i64", wide))
    return shorten(f, x, out, odd)


def to_tiny(f: FunctionEmitter, x: Instr, out: str, ty: str) -> None:
    """cvt.e4m3x2.f32 d, high, low and cvt.e4m3x2.f16x2 d, pair"""
    name, width = TINY[out]
    if ty not in FROM.get(out, ("f32", "f16x2")):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    word = "0"
    for i, value in enumerate(_halves(f, x, ty)):
        if x.has("relu"):
            value = floats.relu(f, "f64", value)
        code = _code(f, x, name, value)
        word = f.emit(f"or i16 {word}, {f.emit(f'shl i16 {code}, {width * i}')}")
    f.store(x.args[0], "b16" if width == 8 else "b8", f.resize(word, 16, 2 * width))


def from_tiny(f: FunctionEmitter, x: Instr, out: str, ty: str) -> None:
    """cvt.f16x2.e4m3x2 d, pair: exact."""
    name, width = TINY[ty]
    if out != TO.get(ty, "f16x2"):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    codes = f.resize(f.value(x.args[1], ty), bits(ty), 32)
    word = "0"
    for i in range(2):
        code = f.emit(f"and i32 {f.emit(f'lshr i32 {codes}, {width * i}')}, {(1 << width) - 1}")
        value = f.call("rm_widen", "double", ("i32", str(abi.NARROW[name])), ("i32", code))
        if x.has("relu"):
            value = floats.relu(f, "f64", value)
        half = f.resize(_code(f, x, out[:-2], value), 16, 32)
        word = f.emit(f"or i32 {word}, {f.emit(f'shl i32 {half}, {16 * i}')}")
    f.store(x.args[0], "b32", word)


def _code(f: FunctionEmitter, x: Instr, name: str, value: str) -> str:
    """The i16 that stands for a double in a narrow format."""
    mode = floats.rounding(x) | (abi.SATFINITE if x.has("satfinite") else 0)
    arguments = (("i32", str(abi.NARROW[name])), ("i32", str(mode)), ("double", value))
    return f.emit(f"trunc i32 {f.call('rm_narrow', 'i32', *arguments)} to i16")


def _halves(f: FunctionEmitter, x: Instr, ty: str) -> list[str]:
    """The low and the high source as doubles."""
    if ty == "f32":
        return [f.emit(f"fpext float {f.value(a, ty)} to double") for a in (x.args[2], x.args[1])]
    pair, own = f.value(x.args[1], ty), llvm_type(ty)
    singles = [f.emit(f"extractelement {own} {pair}, i32 {i}") for i in range(2)]
    if ty == "bf16x2":
        singles = [floats.from_bf16(f, s) for s in singles]
    element = "float" if ty == "bf16x2" else "half"
    return [f.emit(f"fpext {element} {s} to double") for s in singles]
