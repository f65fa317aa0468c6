"""Floating-point opcodes, and the float forms of add, sub, mul, mad, min, max, neg and abs.

f16 sums and products are computed in f32 and rounded once more, which is exact (24 >= 2 * 11 + 2); fma
is not covered by that rule and goes through a sum rounded to odd. bf16 goes through f32 in the same way.
Approximate divisions and roots are computed to full precision; approximate.py has the other functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Operand
from remora.engine.softgpu.compiler.types import FLOAT, SUFFIX, bits, llvm_type

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

ROUNDING = {"rn": 0, "rm": 1, "rp": 2, "rz": 3}
OPERATION = {"fadd": 0, "fsub": 1, "fmul": 2, "fma": 3, "fdiv": 4, "sqrt": 5}
SMALLEST_NORMAL = {"float": "0x3810000000000000", "half": "0xH0400", "bfloat": "0xR0080"}
LOW_29 = (1 << 29) - 1
FLOATS = "f16 f16x2 bf16 bf16x2 f32 f32x2 f64"


def is_float(x: Instr) -> bool:
    """Whether the instruction computes with floats; mixed types are refused."""
    types = x.types()
    if len(types) != 1:
        raise UnsupportedError(f"instruction {x.op} is not supported")
    return types[0] in FLOAT


def rounding(x: Instr) -> int:
    """The rounding mode as the runtime numbers it: 0 is to nearest even."""
    return ROUNDING[x.one_of("rn", "rm", "rp", "rz", default="rn")]


def flush(f: FunctionEmitter, x: Instr, ty: str, value: str) -> str:
    """.ftz: subnormal numbers become zeros of their sign."""
    if not x.has("ftz") or ty == "f64":
        return value
    own = llvm_type(ty)
    element = own.split()[-1].rstrip(">")
    smallest, zero = (SMALLEST_NORMAL[element], "0.0")
    if own != element:
        smallest, zero = f"splat ({element} {smallest})", "zeroinitializer"
    size = f.call(f"llvm.fabs.{SUFFIX[own]}", own, (own, value))
    small = f.emit(f"fcmp olt {own} {size}, {smallest}")
    nothing = f.call(f"llvm.copysign.{SUFFIX[own]}", own, (own, zero), (own, value))
    truth = "i1" if own == element else "<2 x i1>"
    return f.emit(f"select {truth} {small}, {own} {nothing}, {own} {value}")


def operands(f: FunctionEmitter, x: Instr, ty: str, args: list[Operand]) -> list[str]:
    """Operands as floats, flushed where the instruction says so."""
    return [flush(f, x, ty, f.value(a, ty)) for a in args]


def finish(f: FunctionEmitter, x: Instr, ty: str, value: str) -> None:
    """.ftz, .sat and .relu of the result, then its assignment."""
    own = llvm_type(ty)
    value = flush(f, x, ty, value)
    if x.has("sat"):
        value = saturate(f, ty, value)
    if x.has("relu"):
        value = relu(f, ty, value)
    f.store(x.args[0], ty, f.cast(value, own, own))


def saturate(f: FunctionEmitter, ty: str, value: str) -> str:
    """Clamp to [0, 1]; NaN becomes 0."""
    own = llvm_type(ty)
    zero, one = (
        ("zeroinitializer", f"splat ({own.split()[-1][:-1]} 1.0)") if own[0] == "<" else ("0.0", "1.0")
    )
    value = f.call(f"llvm.maximumnum.{SUFFIX[own]}", own, (own, value), (own, zero))
    return f.call(f"llvm.minimumnum.{SUFFIX[own]}", own, (own, value), (own, one))


def relu(f: FunctionEmitter, ty: str, value: str) -> str:
    """max(value, 0); NaN stays (canonical)."""
    own = llvm_type(ty)
    return f.call(
        f"llvm.maximum.{SUFFIX[own]}", own, (own, value), (own, "zeroinitializer" if own[0] == "<" else "0.0")
    )


# -- bf16 through f32


def from_bf16(f: FunctionEmitter, value: str) -> str:
    """bfloat -> float"""
    word = f.emit(f"bitcast bfloat {value} to i16")
    word = f.emit(f"zext i16 {word} to i32")
    word = f.emit(f"shl i32 {word}, 16")
    return f.emit(f"bitcast i32 {word} to float")


def to_bf16(f: FunctionEmitter, value: str, toward_zero: bool = False) -> str:
    """float -> bfloat, to nearest even (or cut off); NaN becomes 0x7fff."""
    word = f.emit(f"bitcast float {value} to i32")
    top = f.emit(f"lshr i32 {word}, 16")
    if not toward_zero:
        odd = f.emit(f"and i32 {top}, 1")
        half = f.emit(f"add i32 {odd}, 32767")
        top = f.emit(f"lshr i32 {f.emit(f'add i32 {word}, {half}')}, 16")
    top = f.select(f.emit(f"fcmp uno float {value}, {value}"), "i32", "32767", top)
    return f.emit(f"bitcast i16 {f.emit(f'trunc i32 {top} to i16')} to bfloat")


def elementwise(f: FunctionEmitter, ty: str, values: list[str], compute: Callable[[list[str]], str]) -> str:
    """Apply `compute` to each element of packed values, or to the scalars themselves."""
    own = llvm_type(ty)
    if own[0] != "<":
        return compute(values)
    element = own.split()[-1][:-1]
    result = "poison"
    for i in (0, 1):
        one = compute([f.emit(f"extractelement {own} {v}, i32 {i}") for v in values])
        result = f.emit(f"insertelement {own} {result}, {element} {one}, i32 {i}")
    return result


def through_f32(f: FunctionEmitter, ty: str, values: list[str], compute: Callable[[list[str]], str]) -> str:
    """Compute in f32 what is given and wanted in f16 or bf16."""

    def one(elements: list[str]) -> str:
        if "bf16" in ty:
            return to_bf16(f, compute([from_bf16(f, v) for v in elements]))
        wide = [f.emit(f"fpext half {v} to float") for v in elements]
        return f.emit(f"fptrunc float {compute(wide)} to half")

    return elementwise(f, ty, values, one)


def _sum_to_odd(f: FunctionEmitter, a: str, b: str, c: str) -> str:
    """a * b + c for doubles that hold f16 or bf16 numbers, rounded to odd in f32's precision.

    The product is exact; Knuth's two-sum gives the rest of the addition. A result to odd can be rounded
    once more without harm (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008).
    """
    product = f.emit(f"fmul double {a}, {b}")
    total = f.emit(f"fadd double {product}, {c}")
    part = f.emit(f"fsub double {total}, {product}")
    left = f.emit(f"fsub double {product}, {f.emit(f'fsub double {total}, {part}')}")
    right = f.emit(f"fsub double {c}, {part}")
    rest = f.emit(f"fadd double {left}, {right}")
    inexact = f.emit(f"fcmp one double {rest}, 0.0")
    word = f.emit(f"bitcast double {total} to i64")
    against = f.emit(f"xor i64 {word}, {f.emit(f'bitcast double {rest} to i64')}")
    lower = f.emit(f"and i1 {inexact}, {f.emit(f'icmp slt i64 {against}, 0')}")
    word = f.emit(f"sub i64 {word}, {f.emit(f'zext i1 {lower} to i64')}")
    low = f.emit(f"and i64 {word}, {LOW_29}")
    sticky = f.emit(f"or i1 {inexact}, {f.emit(f'icmp ne i64 {low}, 0')}")
    high = f.emit(f"and i64 {word}, {-LOW_29 - 1}")
    odd = f.emit(f"shl i64 {f.emit(f'zext i1 {sticky} to i64')}, 29")
    result = f.emit(f"bitcast i64 {f.emit(f'or i64 {high}, {odd}')} to double")
    infinite = f.call(
        "llvm.is.fpclass.f64", "i1", ("double", total), ("i32", "519")
    )  # NaN or infinity: as it is
    return f.emit(f"fptrunc double {f.select(infinite, 'double', total, result)} to float")


def _short_fma(f: FunctionEmitter, ty: str, values: list[str]) -> str:
    """fma of f16, bf16 and their pairs."""

    def one(elements: list[str]) -> str:
        if "bf16" in ty:
            wide = [f.emit(f"fpext float {from_bf16(f, v)} to double") for v in elements]
            return to_bf16(f, _sum_to_odd(f, wide[0], wide[1], wide[2]))
        wide = [f.emit(f"fpext half {v} to double") for v in elements]
        return f.emit(f"fptrunc float {_sum_to_odd(f, wide[0], wide[1], wide[2])} to half")

    return elementwise(f, ty, values, one)


# -- arithmetic


def directed(f: FunctionEmitter, operation: str, mode: int, ty: str, values: list[str]) -> str:
    """An operation in a directed rounding mode: written out for f32 sums and products, else a call."""
    if ty == "f32x2":
        return elementwise(f, ty, values, lambda v: directed(f, operation, mode, "f32", v))
    if ty not in ("f32", "f64"):
        raise UnsupportedError(f"directed rounding of {ty}")
    own = llvm_type(ty)
    if ty == "f32" and operation in ("fadd", "fsub", "fmul", "fma"):
        return _directed_f32(f, operation, mode, values)
    values = values + ["0.0"] * (3 - len(values))
    head = [("i32", str(OPERATION[operation])), ("i32", str(mode))]
    return f.call(f"rm_round_{ty}", own, *head, *((own, v) for v in values))


def _directed_f32(f: FunctionEmitter, operation: str, mode: int, values: list[str]) -> str:
    """Round to nearest, find out on which side of the exact result that is, and step back if need be.

    Products of floats are exact in double precision, and Knuth's two-sum gives the rest of a sum. The
    exponential functions of CUDA's headers use such an fma.
    """
    wide = [f.emit(f"fpext float {v} to double") for v in values]
    if operation == "fma":
        near = f.call("llvm.fma.f32", "float", *(("float", v) for v in values))
        first, second = f.emit(f"fmul double {wide[0]}, {wide[1]}"), wide[2]
    elif operation == "fmul":
        near = f.emit(f"fmul float {values[0]}, {values[1]}")
        first, second = f.emit(f"fmul double {wide[0]}, {wide[1]}"), ""
    else:
        near = f.emit(f"{operation} float {values[0]}, {values[1]}")
        first, second = wide[0], wide[1] if operation == "fadd" else f.emit(f"fneg double {wide[1]}")
    total, rest = _two_sum(f, first, second) if second else (first, "0.0")
    error = f.emit(f"fsub double {total}, {f.emit(f'fpext float {near} to double')}")
    error = f.emit(f"fadd double {error}, {rest}")
    result = _step(f, near, error, mode)
    if mode != ROUNDING["rm"] or not second:
        return result
    signs = f.emit(
        f"or i64 {f.emit(f'bitcast double {first} to i64')}, {f.emit(f'bitcast double {second} to i64')}"
    )
    nothing = f.select(f.emit(f"icmp slt i64 {signs}, 0"), "float", "-0.0", "0.0")
    return f.select(f.emit(f"fcmp oeq double {total}, 0.0"), "float", nothing, result)


def _two_sum(f: FunctionEmitter, a: str, b: str) -> tuple[str, str]:
    """The sum of two doubles and what rounding left out of it; nothing where the sum is not finite."""
    total = f.emit(f"fadd double {a}, {b}")
    part = f.emit(f"fsub double {total}, {a}")
    left = f.emit(f"fsub double {a}, {f.emit(f'fsub double {total}, {part}')}")
    return total, f.emit(f"fadd double {left}, {f.emit(f'fsub double {b}, {part}')}")


def _step(f: FunctionEmitter, near: str, error: str, mode: int) -> str:
    """The next float in the direction of rounding, if the exact result (near + error) lies on that side."""
    word = f.emit(f"bitcast float {near} to i32")
    negative = f.emit(f"icmp slt i32 {word}, 0")
    below = f.emit(f"fcmp olt double {error}, 0.0")
    above = f.emit(f"fcmp ogt double {error}, 0.0")
    if mode == ROUNDING["rz"]:
        inward = f.select(negative, "i1", above, below)
        return f.emit(f"bitcast i32 {f.emit(f'sub i32 {word}, {f.resize(inward, 1, 32)}')} to float")
    down = mode == ROUNDING["rm"]
    outward = f.emit("xor i1 {}, {}".format(negative, "false" if down else "true"))
    stepped = f.select(outward, "i32", f.emit(f"add i32 {word}, 1"), f.emit(f"sub i32 {word}, 1"))
    zero = f.emit(f"fcmp oeq float {near}, 0.0")
    stepped = f.select(zero, "i32", str(0x80000001 if down else 1), stepped)
    word = f.select(below if down else above, "i32", stepped, word)
    return f.emit(f"bitcast i32 {word} to float")


def binary(f: FunctionEmitter, x: Instr, operation: str) -> None:
    """fadd, fsub, fmul or fdiv."""
    ty = x.types()[0]
    if ty not in FLOATS.split():
        raise UnsupportedError(f"instruction {x.op} is not supported")
    values = operands(f, x, ty, x.args[1:3])
    if mode := rounding(x):
        result = directed(f, operation, mode, ty, values)
    elif "16" in ty:
        result = through_f32(f, ty, values, lambda v: f.emit(f"{operation} float {v[0]}, {v[1]}"))
    else:
        result = f.emit(f"{operation} {llvm_type(ty)} {values[0]}, {values[1]}")
    finish(f, x, ty, result)


@op("fma", "rn rz rm rp ftz sat relu", FLOATS)
def fma(f: FunctionEmitter, x: Instr) -> None:
    """fma d, a, b, c"""
    is_float(x)
    ty = x.types()[0]
    _, *factors_and_sum = x.args
    if len(factors_and_sum) != 3:
        raise UnsupportedError(f"{x.op} with {len(x.args)} operands")
    values = operands(f, x, ty, factors_and_sum)
    own = llvm_type(ty)
    if mode := rounding(x):
        result = directed(f, "fma", mode, ty, values)
    elif "16" in ty:
        result = _short_fma(f, ty, values)
    else:
        result = f.call(f"llvm.fma.{SUFFIX[own]}", own, *((own, v) for v in values))
    finish(f, x, ty, result)


def unary(f: FunctionEmitter, x: Instr, compute: Callable[[str, str], str]) -> None:
    """One operand; `compute(LLVM type, value)` runs in f32 for the short types."""
    is_float(x)
    ty = x.types()[0]
    values = operands(f, x, ty, x.args[1:2])
    if "16" in ty:
        finish(f, x, ty, through_f32(f, ty, values, lambda v: compute("float", v[0])))
    else:
        finish(f, x, ty, compute(llvm_type(ty), values[0]))


@op("sqrt rcp", "approx rn rz rm rp ftz", "f32 f64")
def sqrt_rcp(f: FunctionEmitter, x: Instr) -> None:
    """sqrt d, a and rcp d, a"""
    ty = x.types()[0]
    own = llvm_type(ty)
    value = operands(f, x, ty, x.args[1:2])[0]
    if mode := rounding(x):
        values = [value] if x.name == "sqrt" else ["1.0", value]
        finish(f, x, ty, directed(f, "sqrt" if x.name == "sqrt" else "fdiv", mode, ty, values))
    elif x.name == "sqrt":
        finish(f, x, ty, f.call(f"llvm.sqrt.{SUFFIX[own]}", own, (own, value)))
    else:
        finish(f, x, ty, f.emit(f"fdiv {own} 1.0, {value}"))


@op("rsqrt", "approx ftz", "f32 f64")
def rsqrt(f: FunctionEmitter, x: Instr) -> None:
    """1 / sqrt(a)"""

    def compute(own: str, value: str) -> str:
        return f.emit(f"fdiv {own} 1.0, {f.call(f'llvm.sqrt.{SUFFIX[own]}', own, (own, value))}")

    unary(f, x, compute)


@op("tanh", "approx ftz", "f32 f16 f16x2 bf16 bf16x2")
def tanh(f: FunctionEmitter, x: Instr) -> None:
    """The C library's function."""
    unary(f, x, lambda own, value: f.call(f"llvm.tanh.{SUFFIX[own]}", own, (own, value)))


def sign_bits(f: FunctionEmitter, x: Instr) -> None:
    """neg and abs of floats: bits only, NaN included."""
    ty = x.types()[0]
    value = operands(f, x, ty, x.args[1:2])[0]
    width, own = bits(ty), llvm_type(ty)
    signs = 1 << (width - 1)
    if own[0] == "<":
        signs |= 1 << (width // 2 - 1)
    word = f.cast(value, own, f"i{width}")
    if x.name == "neg":
        word = f.emit(f"xor i{width} {word}, {signs}")
    else:
        word = f.emit(f"and i{width} {word}, {(1 << width) - 1 & ~signs}")
    f.store(x.args[0], ty, f.cast(word, f"i{width}", own))


def minmax(f: FunctionEmitter, x: Instr) -> None:
    """min and max of floats: a NaN loses, unless .NaN; -0 is below +0."""
    ty = x.types()[0]
    name = f"llvm.{x.name}imum" + ("" if x.has("NaN") else "num")
    values = operands(f, x, ty, x.args[1:])
    own = llvm_type(ty)
    if x.has("abs", "xorsign"):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    result = values[0]
    for value in values[1:]:
        if "16" in ty:
            pair = [result, value]
            result = through_f32(
                f, ty, pair, lambda v: f.call(f"{name}.f32", "float", ("float", v[0]), ("float", v[1]))
            )
        else:
            result = f.call(f"{name}.{SUFFIX[own]}", own, (own, result), (own, value))
    finish(f, x, ty, result)


@op("copysign", "", "f32 f64")
def copysign(f: FunctionEmitter, x: Instr) -> None:
    """copysign d, a, b: b's magnitude with a's sign."""
    ty = x.types()[0]
    own = llvm_type(ty)
    sign, size = (f.value(a, ty) for a in x.args[1:3])
    f.store(x.args[0], ty, f.call(f"llvm.copysign.{SUFFIX[own]}", own, (own, size), (own, sign)))


#: Masks of llvm.is.fpclass.
CLASSES = {"nan": 3, "infinite": 516, "finite": 504, "number": 1020, "normal": 264, "subnormal": 144}
CLASSES["notanumber"] = CLASSES["nan"]


@op("testp", "finite infinite number notanumber normal subnormal", "f32 f64")
def testp(f: FunctionEmitter, x: Instr) -> None:
    """testp.class p, a"""
    ty = x.types()[0]
    own = llvm_type(ty)
    mask = CLASSES[x.one_of(*CLASSES)]
    test = f.call(f"llvm.is.fpclass.{SUFFIX[own]}", "i1", (own, f.value(x.args[1], ty)), ("i32", str(mask)))
    f.store(x.args[0], "pred", test)
