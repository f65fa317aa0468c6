"""ex2, lg2, sin and cos of f32 (and of f16 and bf16 through it) as polynomials: good to about a unit in the
last place, and LLVM can compute them for several threads at once.

The coefficients are Chebyshev fits; those of sine and cosine are Cephes' (sinf.c, public domain).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.opcodes.floats import unary
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Instr

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

#: (2^f - 1) / f for |f| <= 1/2, and log2(1 + f) / f for |f| <= 1/3, from f^0 on.
EXPONENTIAL = (0.6931471824645996, 0.24022650718688965, 0.055503569543361664, 0.009618056938052177,
               0.0013390866806730628, 0.00015461447765119374)  # fmt: skip
LOGARITHM = (1.4426950216293335, -0.7213475704193115, 0.4808958172798157, -0.3606685400009155,
             0.2887182831764221, -0.24070779979228973, 0.20169900357723236, -0.17516668140888214,
             0.20323719084262848, -0.1882154941558838)  # fmt: skip
#: (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 for |r| <= pi / 4, by powers of r^2.
SINE = (-0.16666654611, 0.0083321608736, -0.00019515295891)
COSINE = (0.04166664568298827, -0.001388731625493765, 2.443315711809948e-05)
TWO_OVER_PI = 0.6366197723675814
HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
ROUND_F32 = 12582912.0  # 1.5 * 2^23: adding it leaves a whole number in the low bits
ROUND_F64 = 6755399441055744.0  # 1.5 * 2^52
LARGE = 1e15  # a float this large says nothing about an angle
INFINITY, MINUS_INFINITY, NAN = "0x7FF0000000000000", "0xFFF0000000000000", "0x7FF8000000000000"
TWO_THIRDS_BITS = 0x3F2AAAAB


def constant(number: float, ty: str = "float") -> str:
    """A float constant, rounded to its type, in LLVM's notation."""
    if ty == "float":
        number = struct.unpack("<f", struct.pack("<f", number))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def _fma(f: FunctionEmitter, a: str, b: str, c: str, ty: str = "float") -> str:
    return f.call(f"llvm.fma.f{32 if ty == 'float' else 64}", ty, (ty, a), (ty, b), (ty, c))


def _polynomial(f: FunctionEmitter, coefficients: Sequence[float], x: str) -> str:
    total = constant(coefficients[-1])
    for c in coefficients[-2::-1]:
        total = _fma(f, total, x, constant(c))
    return total


def _power_of_two(f: FunctionEmitter, exponent: str) -> str:
    biased = f.emit(f"add i32 {exponent}, 127")
    return f.emit(f"bitcast i32 {f.emit(f'shl i32 {biased}, 23')} to float")


@op("ex2", "approx ftz", "f32 f16 f16x2 bf16 bf16x2")
def ex2(f: FunctionEmitter, x: Instr) -> None:
    """2^a = 2^n * 2^f: n whole, |f| <= 1/2; the power in two steps, so that small results come out right."""

    def compute(own: str, value: str) -> str:
        value = f.select(f.emit(f"fcmp ogt float {value}, 129.0"), "float", "129.0", value)
        value = f.select(f.emit(f"fcmp olt float {value}, -151.0"), "float", "-151.0", value)
        shifted = f.emit(f"fadd float {value}, {constant(ROUND_F32)}")
        rest = f.emit(f"fsub float {value}, {f.emit(f'fsub float {shifted}, {constant(ROUND_F32)}')}")
        whole = f.emit(f"sub i32 {f.emit(f'bitcast float {shifted} to i32')}, {0x4B400000}")
        power = _fma(f, _polynomial(f, EXPONENTIAL, rest), rest, "1.0")
        half = f.emit(f"ashr i32 {whole}, 1")
        power = f.emit(f"fmul float {power}, {_power_of_two(f, half)}")
        return f.emit(f"fmul float {power}, {_power_of_two(f, f.emit(f'sub i32 {whole}, {half}'))}")

    unary(f, x, compute)


@op("lg2", "approx ftz", "f32 f16 f16x2 bf16 bf16x2")
def lg2(f: FunctionEmitter, x: Instr) -> None:
    """log2(2^n * m) = n + log2(m): m between 2/3 and 4/3."""

    def compute(own: str, value: str) -> str:
        small = f.emit(f"fcmp olt float {value}, {constant(2.0**-126)}")
        scaled = f.select(small, "float", f.emit(f"fmul float {value}, {constant(2.0**23)}"), value)
        word = f.emit(f"bitcast float {scaled} to i32")
        exponent = f.emit(f"ashr i32 {f.emit(f'sub i32 {word}, {TWO_THIRDS_BITS}')}, 23")
        rest = f.emit(f"sub i32 {word}, {f.emit(f'shl i32 {exponent}, 23')}")
        rest = f.emit(f"fsub float {f.emit(f'bitcast i32 {rest} to float')}, 1.0")
        exponent = f.emit(f"sub i32 {exponent}, {f.select(small, 'i32', '23', '0')}")
        whole = f.emit(f"sitofp i32 {exponent} to float")
        result = _fma(f, _polynomial(f, LOGARITHM, rest), rest, whole)
        result = f.select(f.emit(f"fcmp oeq float {value}, {INFINITY}"), "float", INFINITY, result)
        zero = f.emit(f"fcmp oeq float {value}, 0.0")
        other = f.select(zero, "float", MINUS_INFINITY, NAN)
        return f.select(f.emit(f"fcmp ogt float {value}, 0.0"), "float", result, other)

    unary(f, x, compute)


@op("sin cos", "approx ftz", "f32 f16 f16x2 bf16 bf16x2")
def sin_cos(f: FunctionEmitter, x: Instr) -> None:
    """The angle less a whole number of right angles, in double precision; then one of two polynomials."""
    turn = "0" if x.name == "sin" else "1"

    def compute(own: str, value: str) -> str:
        rest, quadrant = _less_right_angles(f, value)
        quadrant = f.emit(f"add i64 {quadrant}, {turn}")
        square = f.emit(f"fmul float {rest}, {rest}")
        cube = f.emit(f"fmul float {square}, {rest}")
        sine = _fma(f, _polynomial(f, SINE, square), cube, rest)
        fourth = f.emit(f"fmul float {square}, {square}")
        cosine = _fma(f, _polynomial(f, COSINE, square), fourth, _fma(f, square, "-0.5", "1.0"))
        odd = f.emit(f"trunc i64 {quadrant} to i1")
        result = f.select(odd, "float", cosine, sine)
        back = f.emit(f"trunc i64 {f.emit(f'lshr i64 {quadrant}, 1')} to i1")
        result = f.select(back, "float", f.emit(f"fneg float {result}"), result)
        if x.name == "sin":  # -0 stays -0
            result = f.select(f.emit(f"fcmp oeq float {value}, 0.0"), "float", value, result)
        size = f.call("llvm.fabs.f32", "float", ("float", value))
        return f.select(f.emit(f"fcmp ueq float {size}, {INFINITY}"), "float", NAN, result)

    unary(f, x, compute)


def _less_right_angles(f: FunctionEmitter, value: str) -> tuple[str, str]:
    """What is left of an angle, and (in its low bits) how many right angles were taken off."""
    angle = f.emit(f"fpext float {value} to double")
    size = f.call("llvm.fabs.f64", "double", ("double", angle))
    known = f.emit(f"fcmp olt double {size}, {constant(LARGE, 'double')}")
    angle = f.select(known, "double", angle, "0.0")
    shifted = _fma(f, angle, constant(TWO_OVER_PI, "double"), constant(ROUND_F64, "double"), "double")
    count = f.emit(f"fsub double {constant(ROUND_F64, 'double')}, {shifted}")
    for part in HALF_PI:
        angle = _fma(f, count, constant(part, "double"), angle, "double")
    return f.emit(f"fptrunc double {angle} to float"), f.emit(f"bitcast double {shifted} to i64")
