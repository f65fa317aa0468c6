"""cvt: between integer and float types, with rounding, saturation and packing; cvta and isspacep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.opcodes import floats, narrow
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr, Sym
from remora.engine.softgpu.compiler.types import FLOAT, SUFFIX, bits, int_type, is_signed, llvm_type

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

TO_WHOLE = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
SPACES = "global shared shared::cta shared::cluster local const param param::entry"


@op("cvt", "rn rz rm rp rni rzi rmi rpi rna ftz sat relu satfinite")
def cvt(f: FunctionEmitter, x: Instr) -> None:
    """cvt.dtype.stype d, a"""
    out, ty = x.types()
    if out in ("f16x2", "bf16x2") and ty == "f32":
        _pack(f, x, out)
    elif out == "tf32":
        _to_tf32(f, x)
    elif out in narrow.TINY:
        narrow.to_tiny(f, x, out, ty)
    elif ty in narrow.TINY:
        narrow.from_tiny(f, x, out, ty)
    elif "x2" in out + ty or x.has("rna") or (x.has("satfinite") and out not in ("f16", "bf16")):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    elif ty in FLOAT:
        (_float_to_float if out in FLOAT else _float_to_int)(f, x, out, ty)
    else:
        (_int_to_float if out in FLOAT else _int_to_int)(f, x, out, ty)


def _shorten(f: FunctionEmitter, x: Instr, out: str, value: str) -> str:
    """f32 -> f16 or bf16"""
    mode = x.one_of("rn", "rz", "rm", "rp", default="rn")
    if x.has("satfinite") or mode in ("rm", "rp") or (out, mode) == ("f16", "rz"):
        return narrow.shorten(f, x, out, f.emit(f"fpext float {value} to double"))
    if out == "bf16":
        return floats.to_bf16(f, value, toward_zero=mode == "rz")
    return f.emit(f"fptrunc float {value} to half")


def _pack(f: FunctionEmitter, x: Instr, out: str) -> None:
    """Two f32 into one register, the first operand on top."""
    short, own = out[:-2], llvm_type(out)
    element = llvm_type(short)
    result = "poison"
    for i, arg in enumerate((x.args[2], x.args[1])):
        value = floats.flush(f, x, "f32", f.value(arg, "f32"))
        if x.has("relu"):
            value = floats.relu(f, "f32", value)
        result = f.emit(f"insertelement {own} {result}, {element} {_shorten(f, x, short, value)}, i32 {i}")
    f.store(x.args[0], out, result)


def _to_tf32(f: FunctionEmitter, x: Instr) -> None:
    """f32 with 10 bits of fraction, in a 32-bit register: ties away (.rna) or to even (.rn)."""
    if not x.has("rna", "rn") or x.has("relu", "satfinite"):
        raise UnsupportedError(f"instruction {x.op} is not supported")
    value = f.value(x.args[1], "f32")
    word = f.emit(f"bitcast float {value} to i32")
    half = "4096"
    if x.has("rn"):
        odd = f.emit(f"and i32 {f.emit(f'lshr i32 {word}, 13')}, 1")
        half = f.emit(f"add i32 {odd}, 4095")
    rounded = f.emit(f"and i32 {f.emit(f'add i32 {word}, {half}')}, -8192")
    special = f.call("llvm.is.fpclass.f32", "i1", ("float", value), ("i32", "519"))
    f.store(x.args[0], "b32", f.select(special, "i32", word, rounded))


def _float_to_float(f: FunctionEmitter, x: Instr, out: str, ty: str) -> None:
    value = floats.flush(f, x, ty, f.value(x.args[1], ty)) if ty == "f32" else f.value(x.args[1], ty)
    if ty == "bf16":
        value, ty = floats.from_bf16(f, value), "f32"
        out_same = out == "bf16"
    else:
        out_same = out == ty
    own, target = llvm_type(ty), llvm_type(out)
    if whole := x.one_of(*TO_WHOLE):
        value = f.call(f"llvm.{TO_WHOLE[whole]}.{SUFFIX[own]}", own, (own, value))
    if out_same and out != "bf16":
        result = value
    elif out in ("f16", "bf16") and ty == "f32":
        result = _shorten(f, x, out, value)
    elif bits(out) > bits(ty):
        result = f.emit(f"fpext {own} {value} to {target}")
    elif out == ty:
        result = value
    else:
        result = _narrow(f, x, out, ty, value)
    if x.has("sat"):
        result = floats.saturate(f, out, result)
    if x.has("relu"):
        result = floats.relu(f, out, result)
    f.store(x.args[0], out, floats.flush(f, x, out, result) if out == "f32" else result)


def _narrow(f: FunctionEmitter, x: Instr, out: str, ty: str, value: str) -> str:
    """From f64, or f16 to bf16."""
    mode = floats.rounding(x)
    if out == "f32":
        if mode:
            return f.call("rm_round_f64_to_f32", "float", ("i32", str(mode)), ("double", value))
        return f.emit(f"fptrunc double {value} to float")
    if out == "bf16" and ty == "f16":
        return _shorten(f, x, out, f.emit(f"fpext half {value} to float"))
    if out == "f16" and mode == 0 and not x.has("satfinite"):
        return f.emit(f"fptrunc double {value} to half")
    return narrow.shorten(f, x, out, value)


def _float_to_int(f: FunctionEmitter, x: Instr, out: str, ty: str) -> None:
    """Saturating. NaN gives 0, but the top bit when f64 or a 64-bit result is involved (PTX ISA, cvt)."""
    value = f.value(x.args[1], ty)
    if ty == "bf16":
        value, ty = floats.from_bf16(f, value), "f32"
    value = floats.flush(f, x, ty, value) if ty == "f32" else value
    own, target = llvm_type(ty), int_type(out)
    whole = x.one_of(*TO_WHOLE)
    if not whole:
        raise UnsupportedError(f"instruction {x.op} is not supported (no integer rounding)")
    if whole != "rzi":
        value = f.call(f"llvm.{TO_WHOLE[whole]}.{SUFFIX[own]}", own, (own, value))
    kind = "s" if is_signed(out) else "u"
    result = f.call(f"llvm.fpto{kind}i.sat.{target}.{SUFFIX[own]}", target, (own, value))
    if ty == "f64" or bits(out) == 64:
        nan = f.emit(f"fcmp uno {own} {value}, {value}")
        result = f.select(nan, target, str(1 << (bits(out) - 1)), result)
    f.store(x.args[0], out, result)


def _int_to_float(f: FunctionEmitter, x: Instr, out: str, ty: str) -> None:
    value, own = f.value(x.args[1], ty), int_type(ty)
    signed = is_signed(ty)
    kind = "sitofp" if signed else "uitofp"
    mode = floats.rounding(x)
    if mode and out in ("f32", "f64"):
        wide = f.resize(value, bits(ty), 64, signed)
        arguments = (("i32", str(mode)), ("i32", str(int(signed))), ("i64", wide))
        result = f.call(f"rm_round_i64_to_{out}", llvm_type(out), *arguments)
    elif out == "bf16" or (out == "f16" and mode):
        result = narrow.from_integer(f, x, out, ty, value)
    elif out == "f16":  # every integer that f16 can hold is exact in f64
        result = f.emit(f"fptrunc double {f.emit(f'{kind} {own} {value} to double')} to half")
    else:
        result = f.emit(f"{kind} {own} {value} to {llvm_type(out)}")
    if x.has("sat"):
        result = floats.saturate(f, out, result)
    f.store(x.args[0], out, result)


def _int_to_int(f: FunctionEmitter, x: Instr, out: str, ty: str) -> None:
    value = f.value(x.args[1], ty)
    if x.has("sat"):
        low, high = (
            (-(1 << bits(out) - 1), (1 << bits(out) - 1) - 1) if is_signed(out) else (0, (1 << bits(out)) - 1)
        )
        wide = f.resize(value, bits(ty), 128, is_signed(ty))
        wide = f.call("llvm.smax.i128", "i128", ("i128", wide), ("i128", str(low)))
        wide = f.call("llvm.smin.i128", "i128", ("i128", wide), ("i128", str(high)))
        result = f.resize(wide, 128, bits(out))
    else:
        result = f.resize(value, bits(ty), bits(out), is_signed(ty))
    f.store(x.args[0], out, result)


# -- address spaces: only shared addresses differ from generic ones


def _shared_base(f: FunctionEmitter) -> str:
    return f.emit("ptrtoint ptr %shared to i64")


@op("cvta", SPACES + " to", "u32 u64")
def cvta(f: FunctionEmitter, x: Instr) -> None:
    """cvta[.to].space d, a"""
    if any(p.startswith("shared") for p in x.parts):
        source = x.args[1]
        if isinstance(source, Sym):
            value = f.symbol_value(source.name, source.offset, "u64")
        else:
            value = f.value(source, "u64")
        operation = "sub" if x.has("to") else "add"
        f.store(x.args[0], "u64", f.emit(f"{operation} i64 {value}, {_shared_base(f)}"))
    elif f.is_pointer(x.args[0]):
        f.store_pointer(x.args[0], f.pointer(x.args[1]))
    else:
        f.store(x.args[0], "u64", f.value(x.args[1], "u64"))


@op("isspacep", SPACES)
def isspacep(f: FunctionEmitter, x: Instr) -> None:
    """isspacep.space p, a"""
    distance = f.emit(f"sub i64 {f.value(x.args[1], 'u64')}, {_shared_base(f)}")
    size = f.resize(f.block_field("total_shared"), 32, 64)
    space = x.parts[1]
    if space.startswith("shared"):
        result = f.emit(f"icmp ult i64 {distance}, {size}")
    elif space == "global":
        result = f.emit(f"icmp uge i64 {distance}, {size}")
    else:
        raise UnsupportedError(f"instruction {x.op} is not supported")
    f.store(x.args[0], "pred", result)
