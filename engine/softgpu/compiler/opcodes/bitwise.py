"""Bits: logic, shifts, fields, counting, byte permutation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Int, Operand, Pair
from remora.engine.softgpu.compiler.types import bits, int_type, is_signed

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter


@op("and or xor", "", "pred b16 b32 b64")
def logic(f: FunctionEmitter, x: Instr) -> None:
    """and, or, xor d, a, b"""
    ty = x.types()[0]
    f.store(
        x.args[0], ty, f.emit(f"{x.name} {int_type(ty)} {f.value(x.args[1], ty)}, {f.value(x.args[2], ty)}")
    )


@op("not", "", "pred b16 b32 b64")
def not_(f: FunctionEmitter, x: Instr) -> None:
    """not d, a"""
    ty = x.types()[0]
    ones = "true" if ty == "pred" else "-1"
    f.store(x.args[0], ty, f.emit(f"xor {int_type(ty)} {f.value(x.args[1], ty)}, {ones}"))


@op("cnot", "", "b16 b32 b64")
def cnot(f: FunctionEmitter, x: Instr) -> None:
    """a == 0"""
    ty = x.types()[0]
    f.store(
        x.args[0], ty, f.resize(f.emit(f"icmp eq {int_type(ty)} {f.value(x.args[1], ty)}, 0"), 1, bits(ty))
    )


@op("shl", "", "b16 b32 b64")
@op("shr", "", "b16 b32 b64 u16 u32 u64 s16 s32 s64")
def shift(f: FunctionEmitter, x: Instr) -> None:
    """shl and shr d, a, b: an amount beyond the width shifts everything out."""
    ty = x.types()[0]
    own, width = int_type(ty), bits(ty)
    arithmetic = is_signed(ty)
    operation = "shl" if x.name == "shl" else "ashr" if arithmetic else "lshr"
    value, amount = f.value(x.args[1], ty), f.value(x.args[2], "u32")
    beyond = f.emit(f"icmp ugt i32 {amount}, {width - 1}")
    amount = f.resize(f.select(beyond, "i32", str(width - 1), amount), 32, width)
    result = f.emit(f"{operation} {own} {value}, {amount}")
    f.store(x.args[0], ty, result if arithmetic else f.select(beyond, own, "0", result))


@op("shf", "l r wrap clamp", "b32")
def funnel_shift(f: FunctionEmitter, x: Instr) -> None:
    """shf d, low, high, amount"""
    low, high, amount = (f.value(a, "b32") for a in x.args[1:4])
    side = "l" if x.has("l") else "r"
    if x.has("wrap"):
        result = f.call(f"llvm.fsh{side}.i32", "i32", ("i32", high), ("i32", low), ("i32", amount))
        f.store(x.args[0], "b32", result)
        return
    amount = f.resize(_clamp(f, amount, 32), 32, 64)
    both = _join(f, low, high)
    if side == "l":
        both = f.emit(f"lshr i64 {f.emit(f'shl i64 {both}, {amount}')}, 32")
    else:
        both = f.emit(f"lshr i64 {both}, {amount}")
    f.store(x.args[0], "b32", f.resize(both, 64, 32))


def _join(f: FunctionEmitter, low: str, high: str) -> str:
    top = f.emit(f"shl i64 {f.resize(high, 32, 64)}, 32")
    return f.emit(f"or i64 {top}, {f.resize(low, 32, 64)}")


def _clamp(f: FunctionEmitter, value: str, most: int) -> str:
    return f.call("llvm.umin.i32", "i32", ("i32", value), ("i32", str(most)))


@op("popc clz", "", "b32 b64")
def count(f: FunctionEmitter, x: Instr) -> None:
    """Bits that are set; zeros at the top."""
    ty = x.types()[0]
    own = int_type(ty)
    extra = [("i1", "false")] if x.name == "clz" else []
    name = "ctpop" if x.name == "popc" else "ctlz"
    result = f.call(f"llvm.{name}.{own}", own, (own, f.value(x.args[1], ty)), *extra)
    f.store(x.args[0], "u32", f.resize(result, bits(ty), 32))


@op("brev", "", "b32 b64")
def brev(f: FunctionEmitter, x: Instr) -> None:
    """Bits in reverse order."""
    ty = x.types()[0]
    own = int_type(ty)
    f.store(x.args[0], ty, f.call(f"llvm.bitreverse.{own}", own, (own, f.value(x.args[1], ty))))


@op("bfind", "shiftamt", "u32 u64 s32 s64")
def bfind(f: FunctionEmitter, x: Instr) -> None:
    """The place of the top bit that isn't the sign; all ones when there is none."""
    ty = x.types()[0]
    own, width = int_type(ty), bits(ty)
    value = f.value(x.args[1], ty)
    if is_signed(ty):
        value = f.emit(f"xor {own} {value}, {f.emit(f'ashr {own} {value}, {width - 1}')}")
    zeros = f.resize(f.call(f"llvm.ctlz.{own}", own, (own, value), ("i1", "false")), width, 32)
    place = zeros if x.has("shiftamt") else f.emit(f"sub i32 {width - 1}, {zeros}")
    f.store(x.args[0], "u32", f.select(f.emit(f"icmp eq {own} {value}, 0"), "i32", "-1", place))


@op("fns", "", "b32")
def fns(f: FunctionEmitter, x: Instr) -> None:
    """fns d, mask, base, n: the n-th set bit from base upwards (n < 0: downwards; 0: base alone), or -1."""
    mask, base, n = (f.value(a, "b32") for a in x.args[1:4])
    down = f.emit(f"icmp slt i32 {n}, 0")
    flipped = f.call("llvm.bitreverse.i32", "i32", ("i32", mask))
    mask = f.select(down, "i32", flipped, mask)
    base = f.select(down, "i32", f.emit(f"sub i32 31, {base}"), base)
    own = f.emit(f"icmp eq i32 {n}, 0")
    rank = f.call("llvm.abs.i32", "i32", ("i32", n), ("i1", "false"))
    rank = f.select(own, "i32", "1", rank)
    base = f.emit(f"and i32 {base}, 31")
    place = _place_of_bit(f, f.emit(f"lshr i32 {mask}, {base}"), rank)
    first = f.emit(f"icmp ne i32 {place}, 0")
    missing = f.emit(f"or i1 {f.emit(f'icmp slt i32 {place}, 0')}, {f.emit(f'and i1 {own}, {first}')}")
    place = f.emit(f"add i32 {base}, {place}")
    place = f.select(down, "i32", f.emit(f"sub i32 31, {place}"), place)
    f.store(x.args[0], "b32", f.select(missing, "i32", "-1", place))


def _place_of_bit(f: FunctionEmitter, word: str, rank: str) -> str:
    """Where the rank-th (from 1) set bit of a word is, by halving the field; -1 when there are fewer."""
    enough = f.emit(f"icmp ule i32 {rank}, {f.call('llvm.ctpop.i32', 'i32', ('i32', word))}")
    place = "0"
    for width in (16, 8, 4, 2, 1):
        low = f.emit(f"and i32 {f.emit(f'lshr i32 {word}, {place}')}, {(1 << width) - 1}")
        count = f.call("llvm.ctpop.i32", "i32", ("i32", low))
        above = f.emit(f"icmp ugt i32 {rank}, {count}")
        rank = f.select(above, "i32", f.emit(f"sub i32 {rank}, {count}"), rank)
        place = f.select(above, "i32", f.emit(f"add i32 {place}, {width}"), place)
    return f.select(enough, "i32", place, "-1")


def _byte(f: FunctionEmitter, operand: Operand) -> str:
    return f.emit(f"and i32 {f.value(operand, 'u32')}, 255")


@op("bfe", "", "u32 u64 s32 s64")
def bfe(f: FunctionEmitter, x: Instr) -> None:
    """bfe d, a, position, length: bits beyond the top are zeros, or the sign of the field's last bit."""
    ty = x.types()[0]
    own, width = int_type(ty), bits(ty)
    shift_right = "ashr" if is_signed(ty) else "lshr"
    position, length = (_clamp(f, _byte(f, a), width) for a in x.args[2:4])
    wide = f.resize(f.value(x.args[1], ty), width, 128, is_signed(ty))
    wide = f.emit(f"{shift_right} i128 {wide}, {f.resize(position, 32, 128)}")
    empty = f.emit(f"icmp eq i32 {length}, 0")
    unused = f.select(empty, "i32", "127", f.emit(f"sub i32 128, {length}"))
    unused = f.resize(unused, 32, 128)
    wide = f.emit(f"{shift_right} i128 {f.emit(f'shl i128 {wide}, {unused}')}, {unused}")
    f.store(x.args[0], ty, f.select(empty, own, "0", f.resize(wide, 128, width)))


@op("bfi", "", "b32 b64")
def bfi(f: FunctionEmitter, x: Instr) -> None:
    """bfi d, field, into, position, length"""
    ty = x.types()[0]
    own, width = int_type(ty), bits(ty)
    position, length = (f.resize(_clamp(f, _byte(f, a), width), 32, 128) for a in x.args[3:5])
    ones = f.emit(f"sub i128 {f.emit(f'shl i128 1, {length}')}, 1")
    mask = f.resize(f.emit(f"shl i128 {ones}, {position}"), 128, width)
    inserted = f.emit(f"shl i128 {f.resize(f.value(x.args[1], ty), width, 128)}, {position}")
    inserted = f.emit(f"and {own} {f.resize(inserted, 128, width)}, {mask}")
    kept = f.emit(f"and {own} {f.value(x.args[2], ty)}, {f.emit(f'xor {own} {mask}, -1')}")
    f.store(x.args[0], ty, f.emit(f"or {own} {inserted}, {kept}"))


@op("bmsk", "wrap clamp", "b32")
def bmsk(f: FunctionEmitter, x: Instr) -> None:
    """bmsk d, position, length: a mask of ones."""
    values = [f.value(a, "u32") for a in x.args[1:3]]
    if x.has("clamp"):
        values = [_clamp(f, v, 32) for v in values]
    else:
        values = [f.emit(f"and i32 {v}, 31") for v in values]
    position, length = (f.resize(v, 32, 64) for v in values)
    ones = f.emit(f"sub i64 {f.emit(f'shl i64 1, {length}')}, 1")
    f.store(x.args[0], "b32", f.resize(f.emit(f"shl i64 {ones}, {position}"), 64, 32))


@op("szext", "wrap clamp", "u32 s32")
def szext(f: FunctionEmitter, x: Instr) -> None:
    """szext d, a, n: the low n bits of a, the bits above filled with zeros or with the sign."""
    ty = x.types()[0]
    n = f.value(x.args[2], "u32")
    n = _clamp(f, n, 32) if x.has("clamp") else f.emit(f"and i32 {n}, 31")
    above = f.resize(f.emit(f"sub i32 32, {n}"), 32, 64)
    wide = f.emit(f"shl i64 {f.resize(f.value(x.args[1], ty), 32, 64)}, {above}")
    top = f.resize(f.resize(wide, 64, 32), 32, 64, is_signed(ty))
    shift = "ashr" if is_signed(ty) else "lshr"
    f.store(x.args[0], ty, f.resize(f.emit(f"{shift} i64 {top}, {above}"), 64, 32))


@op("lop3", "or and BoolOp", "b32")
def lop3(f: FunctionEmitter, x: Instr) -> None:
    """lop3 d, a, b, c, table; with d|p also p = (d != 0) op q"""
    target = x.args[0]
    table = x.args[4]
    assert isinstance(table, Int) and isinstance(table.value, int)
    values = [f.value(a, "b32") for a in x.args[1:4]]
    inverse = [f.emit(f"xor i32 {v}, -1") for v in values]
    result = "0"
    for row in range(8):
        if table.value >> row & 1:
            terms = [values[i] if row >> (2 - i) & 1 else inverse[i] for i in range(3)]
            term = f.emit(f"and i32 {f.emit(f'and i32 {terms[0]}, {terms[1]}')}, {terms[2]}")
            result = f.emit(f"or i32 {result}, {term}")
    if isinstance(target, Pair):
        nonzero = f.emit(f"icmp ne i32 {result}, 0")
        assert x.has("or", "and")
        both = f.emit(f"{x.one_of('or', 'and')} i1 {nonzero}, {f.value(x.args[5], 'pred')}")
        f.store(target.second, "pred", both)
        target = target.first
    f.store(target, "b32", result)


@op("prmt", "f4e b4e rc8 ecl ecr rc16", "b32")
def prmt(f: FunctionEmitter, x: Instr) -> None:
    """prmt d, a, b, selector: any four of the eight bytes."""
    both = _join(f, f.value(x.args[1], "b32"), f.value(x.args[2], "b32"))
    mode = x.one_of("f4e", "b4e", "rc8", "ecl", "ecr", "rc16")
    selector = f.value(x.args[3], "u32")
    result = "0"
    for i in range(4):
        nibble = _selected(f, mode, selector, i)
        amount = f.emit(f"shl i32 {f.emit(f'and i32 {nibble}, 7')}, 3")
        byte = f.resize(f.emit(f"lshr i64 {both}, {f.resize(amount, 32, 64)}"), 64, 8)
        if not mode:  # bit 3 of a nibble: the byte's sign instead of the byte
            sign = f.emit(f"icmp ne i32 {f.emit(f'and i32 {nibble}, 8')}, 0")
            byte = f.select(sign, "i8", f.emit(f"ashr i8 {byte}, 7"), byte)
        placed = f.emit(f"shl i32 {f.resize(byte, 8, 32)}, {8 * i}")
        result = f.emit(f"or i32 {result}, {placed}")
    f.store(x.args[0], "b32", result)


def _selected(f: FunctionEmitter, mode: str, selector: str, i: int) -> str:
    """Which byte goes to place i."""
    if not mode:
        return f.emit(f"and i32 {f.emit(f'lshr i32 {selector}, {4 * i}')}, 15")
    low = f.emit(f"and i32 {selector}, 3")
    match mode:
        case "f4e":
            return f.emit(f"add i32 {low}, {i}")
        case "b4e":
            return f.emit(f"sub i32 {low}, {i}")
        case "rc8":
            return low
        case "ecl":
            return f.call("llvm.umax.i32", "i32", ("i32", low), ("i32", str(i)))
        case "ecr":
            return f.call("llvm.umin.i32", "i32", ("i32", low), ("i32", str(i)))
    half = f.emit(f"and i32 {low}, 1")
    return f.emit(f"add i32 {f.emit(f'shl i32 {half}, 1')}, {i & 1}")
