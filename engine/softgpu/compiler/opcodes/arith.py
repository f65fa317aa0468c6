"""Integer arithmetic; add, sub, mul, mad, div, min, max, neg and abs hand their float forms to
floats.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.opcodes import floats
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr
from remora.engine.softgpu.compiler.types import bits, int_type, is_signed

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

ROUND = "rn rz rm rp ftz"
INTEGERS = "u16 u32 u64 s16 s32 s64"
WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64", "u64": "b128", "s64": "b128"}


@op("add sub", ROUND + " sat cc", INTEGERS + " b32 b64 u16x2 s16x2 " + floats.FLOATS)
@op("addc subc", "cc", "u32 s32 u64 s64 b32 b64")
def add_sub(f: FunctionEmitter, x: Instr) -> None:
    """add d, a, b and sub d, a, b, with and without carry."""
    name = x.name[:3]
    if floats.is_float(x):
        floats.binary(f, x, "f" + name)
        return
    ty = x.types()[0]
    if f.is_pointer(x.args[0]) and not x.has("cc"):
        _pointer_add(f, x)
        return
    a, b = f.value(x.args[1], ty), f.value(x.args[2], ty)
    own = int_type(ty)
    if ty.endswith("x2"):
        result = _halves(f, f"{name} <2 x i16>", a, b)
    elif x.has("cc") or x.name.endswith("c"):
        result = _with_carry(f, name, bits(ty), [a, b], x.name.endswith("c"), x.has("cc"))
    elif x.has("sat"):
        result = f.call(f"llvm.s{name}.sat.{own}", own, (own, a), (own, b))
    else:
        result = f.emit(f"{name} {own} {a}, {b}")
    f.store(x.args[0], ty, result)


def _halves(f: FunctionEmitter, operation: str, a: str, b: str) -> str:
    pair = [f.emit(f"bitcast i32 {v} to <2 x i16>") for v in (a, b)]
    return f.emit(f"bitcast <2 x i16> {f.emit(f'{operation} {pair[0]}, {pair[1]}')} to i32")


def _pointer_add(f: FunctionEmitter, x: Instr) -> None:
    base, offset = x.args[1:3]
    if not f.is_pointer(base):
        base, offset = offset, base
    distance = f.value(offset, "u64")
    if x.name == "sub":
        distance = f.emit(f"sub i64 0, {distance}")
    f.store_pointer(x.args[0], f.emit(f"getelementptr i8, ptr {f.pointer(base)}, i64 {distance}"))


def _carry_slot(f: FunctionEmitter) -> str:
    if not f.carry:
        f.carry = f.alloca("i1")
    return f.carry


def _with_carry(f: FunctionEmitter, name: str, width: int, values: list[str], take: bool, give: bool) -> str:
    """Add or subtract with the carry flag CC.CF.

    A subtraction adds the complement and one, as the devices do: the flag is then the opposite of a borrow.
    Code that mixes the two kinds (nvcc's 128-bit division) relies on it.
    """
    own, wide = f"i{width}", f"i{width + 1}"
    a, b = values
    carry = "false"
    if name == "sub":
        b, carry = f.emit(f"xor {own} {b}, -1"), "true"
    if take:
        carry = f.emit(f"load i1, ptr {_carry_slot(f)}")
    total = f.emit(f"add {wide} {f.resize(a, width, width + 1)}, {f.resize(b, width, width + 1)}")
    total = f.emit(f"add {wide} {total}, {f.emit(f'zext i1 {carry} to {wide}')}")
    if give:
        top = f.emit(f"lshr {wide} {total}, {width}")
        f.do(f"store i1 {f.resize(top, width + 1, 1)}, ptr {_carry_slot(f)}")
    return f.resize(total, width + 1, width)


def product(f: FunctionEmitter, ty: str, a: str, b: str, part: str) -> str:
    """The low, high or whole (wide) product of two integers."""
    own, width = int_type(ty), bits(ty)
    if part == "lo":
        return f.emit(f"mul {own} {a}, {b}")
    extend = "sext" if is_signed(ty) else "zext"
    wide = [f.emit(f"{extend} {own} {v} to i{2 * width}") for v in (a, b)]
    whole = f.emit(f"mul i{2 * width} {wide[0]}, {wide[1]}")
    if part == "wide":
        return whole
    return f.emit(f"trunc i{2 * width} {f.emit(f'lshr i{2 * width} {whole}, {width}')} to {own}")


@op("mul", ROUND + " sat wide hi lo", INTEGERS + " " + floats.FLOATS)
def mul(f: FunctionEmitter, x: Instr) -> None:
    """mul d, a, b"""
    if floats.is_float(x):
        floats.binary(f, x, "fmul")
        return
    ty, part = x.types()[0], x.one_of("wide", "hi", "lo")
    result = product(f, ty, f.value(x.args[1], ty), f.value(x.args[2], ty), part)
    f.store(x.args[0], WIDER[ty] if part == "wide" else ty, result)


@op("mad", ROUND + " sat wide hi lo cc", INTEGERS + " f32 f64")
@op("madc", "hi lo cc", "u32 s32 u64 s64")
def mad(f: FunctionEmitter, x: Instr) -> None:
    """mad d, a, b, c"""
    if floats.is_float(x):
        floats.fma(f, x)
        return
    ty, part = x.types()[0], x.one_of("wide", "hi", "lo")
    out = WIDER[ty] if part == "wide" else ty
    own = int_type(out)
    result = product(f, ty, f.value(x.args[1], ty), f.value(x.args[2], ty), part)
    addend = f.value(x.args[3], out)
    if x.has("cc") or x.name == "madc":
        result = _with_carry(f, "add", bits(out), [result, addend], x.name == "madc", x.has("cc"))
    elif x.has("sat"):
        result = f.call(f"llvm.sadd.sat.{own}", own, (own, result), (own, addend))
    else:
        result = f.emit(f"add {own} {result}, {addend}")
    f.store(x.args[0], out, result)


@op("mul24 mad24", "hi lo", "u32 s32")
def mul24(f: FunctionEmitter, x: Instr) -> None:
    """The low or high 32 of the 48 bits of a 24-bit product, plus c."""
    ty = x.types()[0]
    shift = "ashr" if is_signed(ty) else "lshr"
    short = []
    for arg in x.args[1:3]:
        top = f.emit(f"shl i32 {f.value(arg, ty)}, 8")
        short.append(f.emit(f"{shift} i32 {top}, 8"))
    whole = product(f, ty, short[0], short[1], "wide")
    result = f.resize(f.emit(f"lshr i64 {whole}, {16 if x.has('hi') else 0}"), 64, 32)
    if x.name == "mad24":
        result = f.emit(f"add i32 {result}, {f.value(x.args[3], ty)}")
    f.store(x.args[0], ty, result)


@op("div", ROUND + " approx full", INTEGERS + " f32 f64")
@op("rem", "", INTEGERS)
def div_rem(f: FunctionEmitter, x: Instr) -> None:
    """div and rem. Division by zero gives all ones (and the dividend as remainder), as on the devices."""
    if floats.is_float(x):
        floats.binary(f, x, "fdiv")
        return
    ty = x.types()[0]
    own, signed = int_type(ty), is_signed(ty)
    a, b = f.value(x.args[1], ty), f.value(x.args[2], ty)
    zero = f.emit(f"icmp eq {own} {b}, 0")
    safe = f.select(zero, own, "1", b)
    minus = ""
    if signed:  # MIN / -1 would trap
        minus = f.emit(f"icmp eq {own} {b}, -1")
        safe = f.select(minus, own, "1", safe)
    result = f.emit(f"{'s' if signed else 'u'}{x.name} {own} {a}, {safe}")
    if signed:
        result = f.select(minus, own, f.emit(f"sub {own} 0, {a}") if x.name == "div" else "0", result)
    f.store(x.args[0], ty, f.select(zero, own, "-1" if x.name == "div" else a, result))


@op("min max", "ftz NaN relu xorsign abs", INTEGERS + " u16x2 s16x2 " + floats.FLOATS)
def min_max(f: FunctionEmitter, x: Instr) -> None:
    """min d, a, b and max d, a, b"""
    if floats.is_float(x):
        floats.minmax(f, x)
        return
    ty = x.types()[0]
    own = "<2 x i16>" if ty.endswith("x2") else int_type(ty)
    suffix = "v2i16" if ty.endswith("x2") else own
    name = f"llvm.{'s' if ty[0] == 's' else 'u'}{x.name}.{suffix}"
    a, b = (f.cast(f.value(v, ty), int_type(ty), own) for v in x.args[1:3])
    result = f.call(name, own, (own, a), (own, b))
    if x.has("relu"):
        result = f.call(f"llvm.smax.{suffix}", own, (own, result), (own, "zeroinitializer"))
    f.store(x.args[0], ty, f.cast(result, own, int_type(ty)))


@op("neg abs", "ftz", "s16 s32 s64 " + floats.FLOATS)
def neg_abs(f: FunctionEmitter, x: Instr) -> None:
    """neg d, a and abs d, a"""
    if floats.is_float(x):
        floats.sign_bits(f, x)
        return
    ty = x.types()[0]
    own = int_type(ty)
    value = f.value(x.args[1], ty)
    if x.name == "neg":
        result = f.emit(f"sub {own} 0, {value}")
    else:
        result = f.call(f"llvm.abs.{own}", own, (own, value), ("i1", "false"))
    f.store(x.args[0], ty, result)


@op("sad", "", INTEGERS)
def sad(f: FunctionEmitter, x: Instr) -> None:
    """c + |a - b|"""
    ty = x.types()[0]
    own, kind = int_type(ty), "s" if is_signed(ty) else "u"
    a, b, c = (f.value(v, ty) for v in x.args[1:4])
    high = f.call(f"llvm.{kind}max.{own}", own, (own, a), (own, b))
    low = f.call(f"llvm.{kind}min.{own}", own, (own, a), (own, b))
    f.store(x.args[0], ty, f.emit(f"add {own} {c}, {f.emit(f'sub {own} {high}, {low}')}"))


@op("dp4a dp2a", "lo hi", "u32 s32")
def dot_product(f: FunctionEmitter, x: Instr) -> None:
    """dp4a: four byte products; dp2a: two 16-bit by byte products, added to c."""
    types = x.types()
    a, b = f.value(x.args[1], "b32"), f.value(x.args[2], "b32")
    total = f.value(x.args[3], "b32")
    width, count = (8, 4) if x.name == "dp4a" else (16, 2)
    first = 2 if x.name == "dp2a" and x.has("hi") else 0
    for i in range(count):
        left = _element(f, a, types[0], width, i)
        right = _element(f, b, types[1], 8, i + first)
        total = f.emit(f"add i32 {total}, {f.emit(f'mul i32 {left}, {right}')}")
    f.store(x.args[0], "b32", total)


def _element(f: FunctionEmitter, word: str, ty: str, width: int, index: int) -> str:
    part = f.resize(f.emit(f"lshr i32 {word}, {width * index}"), 32, width)
    return f.resize(part, width, 32, is_signed(ty))


@op("vabsdiff4", "add", "u32 s32")
def vabsdiff4(f: FunctionEmitter, x: Instr) -> None:
    """Absolute differences of four bytes; with .add their sum added to c."""
    types = x.types()
    if types[0] != "u32" or len(types) != 3 or types[1] != types[2]:
        raise UnsupportedError(f"instruction {x.op} is not supported")
    a, b = f.value(x.args[1], "b32"), f.value(x.args[2], "b32")
    total = f.value(x.args[3], "b32") if x.has("add") else "0"
    for i in range(4):
        left, right = (_element(f, v, types[1], 8, i) for v in (a, b))
        size = f.call("llvm.abs.i32", "i32", ("i32", f.emit(f"sub i32 {left}, {right}")), ("i1", "false"))
        if not x.has("add"):
            size = f.emit(f"shl i32 {size}, {8 * i}")
        total = f.emit(f"add i32 {total}, {size}")
    f.store(x.args[0], "b32", total)
