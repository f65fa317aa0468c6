"""A model of PTX arithmetic in exact rational numbers. Shares nothing with the translator.

Values are bit patterns (ints). Float results are bit patterns, or None for "any NaN".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

WIDTH = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}
ROUNDINGS = ("rn", "rz", "rm", "rp")


def width(ty: str) -> int:
    """Bits of a PTX type."""
    return int(ty.lstrip("usbf"))


def integer(pattern: int, ty: str) -> int:
    """A pattern as the integer it stands for."""
    n = width(ty)
    pattern &= (1 << n) - 1
    return pattern - (1 << n) if ty[0] == "s" and pattern >> (n - 1) else pattern


def pattern(value: int, ty: str) -> int:
    """An integer cut to a type's width."""
    return value & ((1 << width(ty)) - 1)


def clamp(value: int, ty: str) -> int:
    """The nearest number a type can hold."""
    n = width(ty)
    low, high = (-(1 << n - 1), (1 << n - 1) - 1) if ty[0] == "s" else (0, (1 << n) - 1)
    return max(low, min(high, value))


@dataclass(frozen=True)
class Format:
    """A binary float format: precision with the hidden bit, exponent range, total width."""

    precision: int
    least: int
    most: int
    width: int

    @property
    def infinity(self) -> int:
        return ((1 << (self.width - self.precision)) - 1) << (self.precision - 1)

    def decode(self, bits: int) -> float:
        """The number; every format here fits a Python float."""
        sign = -1.0 if bits >> (self.width - 1) & 1 else 1.0
        bits &= (1 << (self.width - 1)) - 1
        fraction, exponent = bits & ((1 << self.precision - 1) - 1), bits >> (self.precision - 1)
        if bits >= self.infinity:
            return math.nan if bits > self.infinity else sign * math.inf
        if exponent == 0:
            return sign * math.ldexp(fraction, self.least - self.precision + 1)
        return sign * math.ldexp(
            fraction | 1 << (self.precision - 1), exponent - 1 + self.least - self.precision + 1
        )

    def encode(self, value: Fraction | float, mode: str = "rn", negative_zero: bool = False) -> int | None:
        """The pattern of a number rounded to this format."""
        top = 1 << (self.width - 1)
        if isinstance(value, float):
            if math.isnan(value):
                return None
            if math.isinf(value):
                return self.infinity | (top if value < 0 else 0)
            negative_zero, value = math.copysign(1, value) < 0, Fraction(value)
        if value == 0:
            return top if negative_zero else 0
        sign, size = (top, -value) if value < 0 else (0, value)
        return sign | self._magnitude(size, mode, bool(sign))

    def _magnitude(self, size: Fraction, mode: str, negative: bool) -> int:
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= size < Fraction(2) ** exponent
        exponent = max(exponent, self.least)
        quotient = size / Fraction(2) ** (exponent - self.precision + 1)
        count, rest = int(quotient), quotient - int(quotient)
        away = mode == ("rm" if negative else "rp")
        if mode == "rn":
            away = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and count & 1 == 1)
        count += bool(rest) and away
        bits = ((exponent - self.least) << (self.precision - 1)) + count
        if bits < self.infinity:
            return bits
        return self.infinity if mode == "rn" or mode == ("rm" if negative else "rp") else self.infinity - 1

    def flush(self, value: float) -> float:
        """.ftz"""
        return math.copysign(0.0, value) if abs(value) < 2.0**self.least else value


FORMATS = {
    "f16": Format(11, -14, 15, 16), "bf16": Format(8, -126, 127, 16), "f32": Format(24, -126, 127, 32),
    "f64": Format(53, -1022, 1023, 64),
}  # fmt: skip


def _special(values: list[float], compute: Callable[..., float]) -> float | None:
    """The result when NaNs or infinities take part, by IEEE arithmetic in doubles; None otherwise."""
    if all(math.isfinite(v) for v in values):
        return None
    try:
        return compute(*values)
    except (ZeroDivisionError, ValueError):
        return math.nan


def _zero_sign(a_negative: bool, b_negative: bool, mode: str) -> bool:
    return a_negative if a_negative == b_negative else mode == "rm"


def _negative(value: float) -> bool:
    return math.copysign(1.0, value) < 0


def float_operation(
    name: str, ty: str, mode: str = "rn", ftz: bool = False, sat: bool = False
) -> Callable[..., int | None]:
    """add, sub, mul, fma, div, sqrt or rcp of patterns."""
    form = FORMATS[ty]

    def compute(*patterns: int) -> int | None:
        values = [form.decode(p) for p in patterns]
        if ftz:
            values = [form.flush(v) for v in values]
        result = _float(name, form, mode, values)
        if ftz and result is not None:
            result = form.encode(form.flush(form.decode(result)))
        if sat:
            if result is None:
                return 0
            number = form.decode(result)
            return form.encode(min(max(number, 0.0), 1.0)) if number > 0 else 0
        return result

    return compute


def _float(name: str, form: Format, mode: str, v: list[float]) -> int | None:
    if name == "sub":
        name, v = "add", [v[0], -v[1]]
    if name == "rcp":
        name, v = "div", [1.0, v[0]]
    if name == "add":
        special = _special(v, lambda a, b: a + b)
        if special is not None:
            return form.encode(special)
        return form.encode(
            Fraction(v[0]) + Fraction(v[1]), mode, _zero_sign(_negative(v[0]), _negative(v[1]), mode)
        )
    if name == "mul":
        special = _special(v, lambda a, b: a * b)
        if special is not None:
            return form.encode(special)
        return form.encode(Fraction(v[0]) * Fraction(v[1]), mode, _negative(v[0]) != _negative(v[1]))
    if name == "fma":
        return _fma(form, mode, v)
    if name == "div":
        return _divide(form, mode, v[0], v[1])
    return _root(form, mode, v[0])


def _fma(form: Format, mode: str, v: list[float]) -> int | None:
    a, b, c = v
    if (
        math.isnan(a)
        or math.isnan(b)
        or math.isnan(c)
        or (math.isinf(a) and b == 0)
        or (math.isinf(b) and a == 0)
    ):
        return None
    sign = _negative(a) != _negative(b)
    if math.isinf(a) or math.isinf(b):
        if math.isinf(c) and _negative(c) != sign:
            return None
        return form.encode(-math.inf if sign else math.inf)
    if math.isinf(c):
        return form.encode(c)
    product = Fraction(a) * Fraction(b)
    zero = _zero_sign(sign, _negative(c), mode) if product == 0 else mode == "rm"
    return form.encode(product + Fraction(c), mode, zero)


def _divide(form: Format, mode: str, a: float, b: float) -> int | None:
    sign = _negative(a) != _negative(b)
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and math.isinf(b)) or (a == 0 and b == 0):
        return None
    if math.isinf(a) or b == 0:
        return form.encode(-math.inf if sign else math.inf)
    if math.isinf(b) or a == 0:
        return form.encode(Fraction(0), mode, sign)
    return form.encode(Fraction(a) / Fraction(b), mode)


def _root(form: Format, mode: str, a: float) -> int | None:
    if math.isnan(a) or a < 0:
        return None
    if a == 0 or math.isinf(a):
        return form.encode(a)
    scaled = Fraction(a) * (1 << 2400)  # an integer for every double
    assert scaled.denominator == 1
    root = math.isqrt(scaled.numerator)
    exact = root * root == scaled.numerator
    return form.encode(Fraction(2 * root + (not exact), 1 << 1201), mode)


def to_integer(source: str, target: str, mode: str, ftz: bool = False) -> Callable[[int], int]:
    """cvt from float to integer."""
    form = FORMATS[source]
    whole: dict[str, Callable[[float], int]] = {
        "rni": round,
        "rzi": math.trunc,
        "rmi": math.floor,
        "rpi": math.ceil,
    }

    def compute(bits: int) -> int:
        value = form.decode(bits)
        if ftz:
            value = form.flush(value)
        if math.isnan(value):
            return 1 << (width(target) - 1) if source == "f64" or width(target) == 64 else 0
        if math.isinf(value):
            return pattern(clamp(-(1 << 80) if value < 0 else 1 << 80, target), target)
        return pattern(clamp(whole[mode](value), target), target)

    return compute


def from_integer(source: str, target: str, mode: str) -> Callable[[int], int | None]:
    """cvt from integer to float."""
    return lambda bits: FORMATS[target].encode(Fraction(integer(bits, source)), mode)


def between_floats(source: str, target: str, mode: str = "rn") -> Callable[[int], int | None]:
    """cvt from float to float."""

    def compute(bits: int) -> int | None:
        value = FORMATS[source].decode(bits)
        return FORMATS[target].encode(
            value if not math.isfinite(value) or value == 0 else Fraction(value), mode
        )

    return compute


def edges(ty: str) -> list[int]:
    """Patterns at which arithmetic goes wrong."""
    if ty in FORMATS:
        form = FORMATS[ty]
        one = form.encode(Fraction(1)) or 0
        sizes = [
            0,
            1,
            (1 << form.precision - 1) - 1,
            1 << form.precision - 1,
            one,
            one + 1,
            one - 1,
            form.infinity - 1,
        ]
        sizes += [
            form.infinity,
            form.infinity | 1 << form.precision - 2,
            form.encode(Fraction(5, 2)) or 0,
            one | 1,
        ]
        return [s | sign for s in sizes for sign in (0, 1 << form.width - 1)]
    n = width(ty)
    return [
        pattern(v, f"u{n}")
        for v in (0, 1, 2, -1, -2, 1 << n - 1, (1 << n - 1) - 1, 7, 31, 32, 33, n, n - 1, 255)
    ]


def double(bits: int) -> float:
    """An f64 pattern as a Python float."""
    return float(struct.unpack("<d", bits.to_bytes(8, "little"))[0])
