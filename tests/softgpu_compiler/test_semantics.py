"""Opcode by opcode against model.py: 96 vectors each, edges first, then random ones."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from tests.softgpu_compiler import model
from tests.softgpu_compiler.device import Driver, Module
from tests.softgpu_compiler.model import FORMATS, ROUNDINGS, clamp, integer, pattern, width

COUNT = 96
BATCH = 12  # cases in one kernel
HEAD = ".version 8.5\n.target sm_90\n.address_size 64"
INTS = ("u16", "s16", "u32", "s32", "u64", "s64")
Model = Callable[..., int | None]


@dataclass
class Case:
    """An instruction (or several, with {d} {a} {b} {c} {e}), its types, and what it should give."""

    text: str
    out: str
    ins: tuple[str, ...]
    model: Model
    tolerance: float = 0.0


def simple(op: str, ty: str, count: int, compute: Model, out: str = "", ins: tuple[str, ...] = ()) -> Case:
    operands = ", ".join("{" + n + "}" for n in "dabce"[: count + 1])
    return Case(f"{op} {operands};", out or ty, ins or (ty,) * count, compute)


def on_integers(ty: str, compute: Callable[..., int], out: str = "") -> Model:
    return lambda *p: pattern(compute(*(integer(v, ty) for v in p)), out or ty)


def quotient(a: int, b: int) -> int:
    return -1 if b == 0 else int(math.copysign(1, a) * math.copysign(1, b)) * (abs(a) // abs(b))


def remainder(a: int, b: int) -> int:
    return a if b == 0 else a - quotient(a, b) * b


def integer_cases() -> Iterator[Case]:
    for ty in INTS:
        n = width(ty)
        for op, f in (("add", operator.add), ("sub", operator.sub), ("mul.lo", operator.mul),
                      ("div", quotient),
                      ("rem", remainder), ("min", min), ("max", max)):  # fmt: skip
            yield simple(f"{op}.{ty}", ty, 2, on_integers(ty, f))
        yield simple(f"mul.hi.{ty}", ty, 2, on_integers(ty, lambda a, b, n=n: a * b >> n))
        yield simple(f"mad.lo.{ty}", ty, 3, on_integers(ty, lambda a, b, c: a * b + c))
        yield simple(f"sad.{ty}", ty, 3, on_integers(ty, lambda a, b, c: c + abs(a - b)))
        if n < 64:
            wide = f"{ty[0]}{2 * n}"
            yield simple(f"mul.wide.{ty}", ty, 2, on_integers(ty, operator.mul, wide), wide)
        if ty[0] == "s":
            yield simple(f"neg.{ty}", ty, 1, on_integers(ty, operator.neg))
            yield simple(f"abs.{ty}", ty, 1, on_integers(ty, abs))
        yield simple(
            f"shr.{ty}",
            ty,
            2,
            lambda a, b, ty=ty, n=n: pattern(integer(a, ty) >> min(b, n), ty),
            "",
            (ty, "u32"),
        )
    for op, f in (("add.sat.s32", operator.add), ("sub.sat.s32", operator.sub)):
        yield simple(op, "s32", 2, on_integers("s32", lambda a, b, f=f: clamp(f(a, b), "s32")))
    for ty in ("u32", "s32"):
        low = lambda v, ty=ty: integer(v << 8, ty) >> 8  # noqa: E731
        yield simple(f"mul24.lo.{ty}", ty, 2, lambda a, b, low=low, ty=ty: pattern(low(a) * low(b), ty))
        yield simple(f"mul24.hi.{ty}", ty, 2, lambda a, b, low=low, ty=ty: pattern(low(a) * low(b) >> 16, ty))
        yield simple(
            f"mad24.lo.{ty}", ty, 3, lambda a, b, c, low=low, ty=ty: pattern(low(a) * low(b) + c, ty)
        )
        yield simple(f"mad.hi.{ty}", ty, 3, on_integers(ty, lambda a, b, c: (a * b >> 32) + c))
    yield simple(
        "mad.hi.sat.s32", "s32", 3, on_integers("s32", lambda a, b, c: clamp((a * b >> 32) + c, "s32"))
    )
    yield simple("mad.wide.s32", "s32", 3,
                 lambda a, b, c: pattern(integer(a, "s32") * integer(b, "s32") + c, "u64"), "u64",
                 ("s32", "s32", "u64"))  # fmt: skip
    yield Case("add.cc.u32 %x, {a}, {b}; addc.u32 {d}, {c}, {c};", "u32", ("u32",) * 3,
               lambda a, b, c: pattern(2 * c + (a + b >> 32), "u32"))  # fmt: skip
    yield Case("sub.cc.u32 %x, {a}, {b}; subc.u32 {d}, {c}, 0;", "u32", ("u32",) * 3,
               lambda a, b, c: pattern(c - (a < b), "u32"))  # fmt: skip
    yield Case("sub.cc.u32 %x, {a}, {b}; addc.u32 {d}, {c}, 0;", "u32", ("u32",) * 3,
               lambda a, b, c: pattern(c + (a >= b), "u32"))  # fmt: skip
    yield Case("vabsdiff4.u32.u32.u32 {d}, {a}, {b}, {c};", "u32", ("u32",) * 3, lambda a, b, c: sum(
        abs((a >> i & 255) - (b >> i & 255)) << i for i in (0, 8, 16, 24)))  # fmt: skip
    yield Case("vabsdiff4.u32.u32.u32.add {d}, {a}, {b}, {c};", "u32", ("u32",) * 3,
               lambda a, b, c: pattern(c + sum(
                   abs((a >> i & 255) - (b >> i & 255)) for i in (0, 8, 16, 24)), "u32"))  # fmt: skip
    yield Case("mad.lo.cc.u32 %x, {a}, {b}, {c}; madc.hi.u32 {d}, {a}, {b}, 0;", "u32", ("u32",) * 3,
               lambda a, b, c: a * b + c >> 32 & 0xFFFFFFFF)  # fmt: skip
    for x, y in (("s32", "s32"), ("u32", "u32"), ("s32", "u32")):
        yield simple(f"dp4a.{x}.{y}", "u32", 3, lambda a, b, c, x=x, y=y: pattern(c + sum(
            integer(a >> 8 * i, x[0] + "8") * integer(b >> 8 * i, y[0] + "8")
            for i in range(4)), "u32"))  # fmt: skip


def low_bits(value: int, count: int, ty: str) -> int:
    """The low bits of a pattern, with their own sign."""
    low = value & (1 << count) - 1
    negative = ty[0] == "s" and count > 0 and low >> count - 1
    return pattern(low - (1 << count) if negative else low, ty)


def byte_permutation(mode: str) -> Model:
    def compute(a: int, b: int, s: int) -> int:
        data, out, low = (b << 32 | a).to_bytes(8, "little"), 0, s & 3
        for i in range(4):
            nibble = s >> 4 * i & 15
            place = {"": nibble & 7, "f4e": low + i, "b4e": (low - i) & 7, "rc8": low, "ecl": max(low, i),
                     "ecr": min(low, i), "rc16": 2 * (low & 1) + (i & 1)}[mode]  # fmt: skip
            byte = data[place]
            if not mode and nibble & 8:
                byte = 255 if byte & 128 else 0
            out |= byte << 8 * i
        return out

    return compute


def field(ty: str) -> Model:
    n = width(ty)

    def compute(a: int, p: int, length: int) -> int:
        p, length = p & 255, length & 255
        value = integer(a, ty)
        sign = 0
        if ty[0] == "s" and length:
            sign = a >> min(p + length - 1, n - 1) & 1
        bits = [(value >> p + i & 1 if p + i < n else sign) if i < length else sign for i in range(n)]
        return sum(bit << i for i, bit in enumerate(bits)) if length else 0

    return compute


def insertion(n: int) -> Model:
    def compute(a: int, b: int, p: int, length: int) -> int:
        p, length = p & 255, length & 255
        for i in range(length):
            if p + i < n:
                b = b & ~(1 << p + i) | (a >> i & 1) << p + i
        return b

    return compute


def highest(ty: str, shift: bool) -> Model:
    def compute(a: int) -> int:
        value = integer(a, ty)
        value = ~value if value < 0 else value
        place = value.bit_length() - 1
        return 0xFFFFFFFF if place < 0 else width(ty) - 1 - place if shift else place

    return compute


def nth_set_bit(mask: int, base: int, n: int) -> int:
    n, base = integer(n, "s32"), base & 31
    if n == 0:
        return base if mask >> base & 1 else 0xFFFFFFFF
    places = range(base, 32) if n > 0 else range(base, -1, -1)
    found = [i for i in places if mask >> i & 1]
    return found[abs(n) - 1] if abs(n) <= len(found) else 0xFFFFFFFF


def bit_cases() -> Iterator[Case]:
    for ty in ("b16", "b32", "b64"):
        n = width(ty)
        for op, f in (("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)):
            yield simple(f"{op}.{ty}", ty, 2, f)
        yield simple(f"not.{ty}", ty, 1, lambda a, ty=ty: pattern(~a, ty))
        yield simple(f"cnot.{ty}", ty, 1, lambda a: int(a == 0))
        yield simple(
            f"shl.{ty}", ty, 2, lambda a, b, ty=ty, n=n: pattern(a << min(b, n), ty), "", (ty, "u32")
        )
    for ty in ("b32", "b64"):
        n = width(ty)
        yield simple(f"popc.{ty}", ty, 1, int.bit_count, "u32")
        yield simple(f"clz.{ty}", ty, 1, lambda a, n=n: n - a.bit_length(), "u32")
        yield simple(f"brev.{ty}", ty, 1, lambda a, n=n: int(f"{a:0{n}b}"[::-1], 2))
        yield simple(f"bfi.{ty}", ty, 4, insertion(n), "", (ty, ty, "u32", "u32"))
    for ty in ("u32", "s32", "u64", "s64"):
        yield simple(f"bfe.{ty}", ty, 3, field(ty), "", (ty, "u32", "u32"))
        yield simple(f"bfind.{ty}", ty, 1, highest(ty, False), "u32")
        yield simple(f"bfind.shiftamt.{ty}", ty, 1, highest(ty, True), "u32")
    yield simple("fns.b32", "b32", 3, nth_set_bit)
    for n in (-9, -2, 2, 5, 16):
        compute = lambda a, b, n=n: nth_set_bit(a, b, n)  # noqa: E731
        yield Case(f"fns.b32 {{d}}, {{a}}, {{b}}, {n};", "b32", ("b32", "b32"), compute)
    both = lambda a, b: b << 32 | a  # noqa: E731
    yield simple("shf.l.wrap.b32", "b32", 3, lambda a, b, c: both(a, b) << (c & 31) >> 32 & 0xFFFFFFFF)
    yield simple("shf.r.wrap.b32", "b32", 3, lambda a, b, c: both(a, b) >> (c & 31) & 0xFFFFFFFF)
    yield simple("shf.l.clamp.b32", "b32", 3, lambda a, b, c: both(a, b) << min(c, 32) >> 32 & 0xFFFFFFFF)
    yield simple("shf.r.clamp.b32", "b32", 3, lambda a, b, c: both(a, b) >> min(c, 32) & 0xFFFFFFFF)
    for mode in ("", "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"):
        yield simple("prmt.b32" + (f".{mode}" if mode else ""), "b32", 3, byte_permutation(mode))
    for table in (0x00, 0x96, 0xE8, 0x1B, 0xFF, 0x6A):
        yield Case(f"lop3.b32 {{d}}, {{a}}, {{b}}, {{c}}, {table};", "b32", ("b32",) * 3,
            lambda a, b, c, t=table: sum(
            (t >> (4 * (a >> i & 1) + 2 * (b >> i & 1) + (c >> i & 1)) & 1) << i
            for i in range(32)))  # fmt: skip
    yield simple(
        "bmsk.clamp.b32", "b32", 2, lambda a, b: pattern(((1 << min(b, 32)) - 1) << min(a, 32), "u32")
    )
    for ty in ("u32", "s32"):
        for mode, most in (("clamp", lambda b: min(b, 32)), ("wrap", lambda b: b & 31)):
            yield simple(f"szext.{mode}.{ty}", ty, 2, lambda a, b, ty=ty, most=most: low_bits(a, most(b), ty),
                         "", (ty, "u32"))  # fmt: skip
    yield simple("bmsk.wrap.b32", "b32", 2, lambda a, b: pattern(((1 << (b & 31)) - 1) << (a & 31), "u32"))


def float_cases() -> Iterator[Case]:
    for ty in ("f32", "f64"):
        for mode in ROUNDINGS:
            for op, count in (
                ("add", 2),
                ("sub", 2),
                ("mul", 2),
                ("fma", 3),
                ("div", 2),
                ("sqrt", 1),
                ("rcp", 1),
            ):
                yield simple(f"{op}.{mode}.{ty}", ty, count, model.float_operation(op, ty, mode))
    for op, count in (("add", 2), ("mul", 2), ("fma", 3), ("div", 2), ("sqrt", 1)):
        mode = "" if op in ("add", "mul") else ".rn"
        yield simple(f"{op}{mode}.ftz.f32", "f32", count, model.float_operation(op, "f32", ftz=True))
    for op, count in (("add", 2), ("mul", 2), ("fma", 3)):
        mode = ".rn" if op == "fma" else ""
        yield simple(f"{op}{mode}.sat.f32", "f32", count, model.float_operation(op, "f32", sat=True))
    for ty in ("f16", "bf16"):
        for op, count in (("add", 2), ("sub", 2), ("mul", 2), ("fma", 3)):
            yield simple(f"{op}.rn.{ty}", ty, count, model.float_operation(op, ty))
    for ty in ("f16", "bf16", "f32", "f64"):
        top = 1 << FORMATS[ty].width - 1
        yield simple(f"neg.{ty}", ty, 1, lambda a, top=top: a ^ top)
        yield simple(f"abs.{ty}", ty, 1, lambda a, top=top: a & ~top)
        for op in ("min", "max"):
            yield simple(f"{op}.{ty}", ty, 2, extreme(op, ty, False))
            if ty != "f64":
                yield simple(f"{op}.NaN.{ty}", ty, 2, extreme(op, ty, True))
    for ty in ("f32", "f64"):
        top = 1 << FORMATS[ty].width - 1
        yield simple(f"copysign.{ty}", ty, 2, lambda a, b, top=top: b & ~top | a & top)


def extreme(op: str, ty: str, nan_wins: bool) -> Model:
    form = FORMATS[ty]

    def compute(a: int, b: int) -> int | None:
        x, y = form.decode(a), form.decode(b)
        if math.isnan(x) or math.isnan(y):
            return None if nan_wins or (math.isnan(x) and math.isnan(y)) else b if math.isnan(x) else a
        order = sorted([(x, math.copysign(1, x), a), (y, math.copysign(1, y), b)])
        return order[0 if op == "min" else 1][2]

    return compute


def conversion_cases() -> Iterator[Case]:
    kinds = ("u8", "s8", *INTS)
    for a in kinds:
        for b in kinds:
            if a != b:
                yield simple(f"cvt.{b}.{a}", "", 1, on_integers(a, lambda v: v, b), b, (a,))
                yield simple(
                    f"cvt.sat.{b}.{a}", "", 1, on_integers(a, lambda v, b=b: clamp(v, b), b), b, (a,)
                )
    for f in ("f16", "f32", "f64"):
        for i in kinds:
            for mode in ("rni", "rzi", "rmi", "rpi"):
                yield simple(f"cvt.{mode}.{i}.{f}", "", 1, model.to_integer(f, i, mode), i, (f,))
            for mode in ROUNDINGS:
                yield simple(f"cvt.{mode}.{f}.{i}", "", 1, model.from_integer(i, f, mode), f, (i,))
    yield simple("cvt.rzi.ftz.s32.f32", "", 1, model.to_integer("f32", "s32", "rzi", True), "s32", ("f32",))
    for mode in ROUNDINGS:
        yield simple(f"cvt.{mode}.f32.f64", "", 1, model.between_floats("f64", "f32", mode), "f32", ("f64",))
    for i in kinds:
        for mode in ROUNDINGS:
            yield simple(f"cvt.{mode}.bf16.{i}", "", 1, model.from_integer(i, "bf16", mode), "bf16", (i,))
    for a, b, mode in product(("f32", "f64"), ("f16", "bf16"), ROUNDINGS):
        yield simple(f"cvt.{mode}.{b}.{a}", "", 1, model.between_floats(a, b, mode), b, (a,))
    for a, b in (("f16", "f32"), ("f16", "f64"), ("bf16", "f32"), ("f32", "f64")):
        yield simple(f"cvt.{b}.{a}", "", 1, model.between_floats(a, b), b, (a,))
    yield Case("cvt.rn.f16x2.f32 {d}, {a}, {b};", "b32", ("f32", "f32"), pair("f16"))
    yield Case("cvt.rn.bf16x2.f32 {d}, {a}, {b};", "b32", ("f32", "f32"), pair("bf16"))
    for mode, f in (("rni", round), ("rzi", math.trunc), ("rmi", math.floor), ("rpi", math.ceil)):
        for ty in ("f32", "f64"):
            yield simple(f"cvt.{mode}.{ty}.{ty}", ty, 1, whole(ty, f))


def pair(ty: str) -> Model:
    one = model.between_floats("f32", ty)

    def compute(a: int, b: int) -> int | None:
        high, low = one(a), one(b)
        return None if high is None or low is None else high << 16 | low

    return compute


def whole(ty: str, f: Callable[[float], int]) -> Model:
    form = FORMATS[ty]

    def compute(a: int) -> int | None:
        value = form.decode(a)
        if not math.isfinite(value):
            return form.encode(value)
        return form.encode(math.copysign(float(f(value)), value))

    return compute


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le,
    "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


def comparison(ty: str, name: str) -> Model:
    unordered = ty in FORMATS and (len(name) == 3 or name == "nan")

    def compute(a: int, b: int) -> int:
        x, y = (FORMATS[ty].decode(v) if ty in FORMATS else integer(v, ty) for v in (a, b))
        nan = math.isnan(x) or math.isnan(y)
        if name in ("num", "nan"):
            return int(nan == (name == "nan"))
        if nan:
            return int(unordered)
        return int(COMPARE[{"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.get(name, name[:2])](x, y))

    return compute


def comparison_cases() -> Iterator[Case]:
    for ty in (*INTS, "f16", "f32", "f64"):
        names = list(COMPARE)
        if ty in FORMATS:
            names += [f"{n}u" for n in COMPARE] + ["num", "nan"]
        elif ty[0] == "u":
            names += ["lo", "ls", "hi", "hs"]
        for name in names:
            text = f"setp.{name}.{ty} %p, {{a}}, {{b}}; selp.u32 {{d}}, 1, 0, %p;"
            yield Case(text, "u32", (ty, ty), comparison(ty, name))
    yield Case("setp.lt.and.s32 %p|%q, {a}, {b}, 1; selp.u32 {d}, 1, 0, %q;", "u32", ("s32", "s32"),
               lambda a, b: int(integer(a, "s32") >= integer(b, "s32")))  # fmt: skip
    yield Case(
        "set.lt.u32.f32 {d}, {a}, {b};",
        "u32",
        ("f32", "f32"),
        lambda a, b: -comparison("f32", "lt")(a, b) & 0xFFFFFFFF,
    )
    yield Case(
        "slct.u32.s32 {d}, {a}, {b}, {c};",
        "u32",
        ("u32", "u32", "s32"),
        lambda a, b, c: a if integer(c, "s32") >= 0 else b,
    )
    for name, mask in (
        ("finite", (0, 1)),
        ("infinite", (2,)),
        ("number", (0, 1, 2)),
        ("notanumber", (3,)),
        ("normal", (1,)),
    ):
        text = f"testp.{name}.f32 %p, {{a}}; selp.u32 {{d}}, 1, 0, %p;"
        yield Case(text, "u32", ("f32",), lambda a, m=mask: int(kind(a) in m))


def kind(a: int) -> int:
    value = FORMATS["f32"].decode(a)
    if math.isnan(value):
        return 3
    return 2 if math.isinf(value) else 1 if abs(value) >= 2.0**-126 else 0


def approximate_cases() -> Iterator[Case]:
    def near(f: Callable[[float], float]) -> Model:
        def compute(a: int) -> int | None:
            value = FORMATS["f32"].decode(a)
            try:
                return FORMATS["f32"].encode(f(value))
            except (ValueError, ZeroDivisionError):
                return None
            except OverflowError:
                return FORMATS["f32"].infinity

        return compute

    for op, f in (("ex2", lambda v: 2.0**v), ("sin", math.sin), ("cos", math.cos), ("tanh", math.tanh)):
        yield Case(f"{op}.approx.f32 {{d}}, {{a}};", "f32", ("small",), near(f), 1e-6)
    for op, f in (
        ("lg2", math.log2),
        ("rsqrt", lambda v: v**-0.5),
        ("rcp", lambda v: 1 / v),
        ("sqrt", math.sqrt),
    ):
        yield Case(f"{op}.approx.f32 {{d}}, {{a}};", "f32", ("positive",), near(f), 1e-6)


CASES = [
    *integer_cases(),
    *bit_cases(),
    *float_cases(),
    *conversion_cases(),
    *comparison_cases(),
    *approximate_cases(),
]
GROUPS = {"integer": integer_cases, "bit": bit_cases, "float": float_cases, "conversion": conversion_cases,
          "comparison": comparison_cases, "approximate": approximate_cases}  # fmt: skip


def storage(ty: str) -> int:
    """Register width: bytes travel in 16-bit registers."""
    return 32 if ty in ("small", "positive") else max(16, FORMATS[ty].width if ty in FORMATS else width(ty))


def vectors(ty: str, rng: random.Random) -> list[int]:
    if ty in ("small", "positive"):
        return [
            FORMATS["f32"].encode(rng.uniform(0.01 if ty == "positive" else -20, 20)) or 0
            for _ in range(COUNT)
        ]
    bits = FORMATS[ty].width if ty in FORMATS else width(ty)
    found = [rng.choice(model.edges(ty)) for _ in range(COUNT // 2)]
    while len(found) < COUNT:
        value = rng.getrandbits(bits)
        found.append(value >> rng.randrange(bits) if ty not in FORMATS and rng.random() < 0.5 else value)
    if ty in FORMATS:  # numbers of similar size: rounding matters
        form = FORMATS[ty]
        for i in range(2 * COUNT // 3, COUNT):
            found[i] = form.encode(rng.uniform(-4, 4)) or 0
    return found


def body(case: Case) -> list[str]:
    """The case on this thread's slots of 8 bytes: operands at %i, result at %o, which move on."""
    lines = ["{", ".reg .pred %p, %q; .reg .b32 %x; .reg .b64 %r;", f".reg .b{storage(case.out)} %d;"]
    names = dict(zip("abce", case.ins, strict=False))
    for letter, ty in names.items():
        lines += [f".reg .b{storage(ty)} %{letter};", f"ld.global.b{storage(ty)} %{letter}, [%i];"]
        lines.append(f"add.s64 %i, %i, {8 * COUNT};")
    lines.append(case.text.format(d="%d", **{n: f"%{n}" for n in names}))
    unsigned = f"u{storage(case.out)}"
    lines.append("mov.b64 %r, %d;" if unsigned == "u64" else f"cvt.u64.{unsigned} %r, %d;")
    return [*lines, "st.global.u64 [%o], %r;", f"add.s64 %o, %o, {8 * COUNT};", "}"]


def ptx(name: str, cases: list[Case]) -> str:
    """A kernel that works through several cases."""
    lines = [f".visible .entry {name}(.param .u64 ins, .param .u64 outs)", "{", ".reg .b32 %t;"]
    lines += [".reg .b64 %i, %o, %w;", "ld.param.u64 %i, [ins]; ld.param.u64 %o, [outs]; mov.u32 %t, %tid.x;"]
    lines += ["mul.wide.u32 %w, %t, 8; add.s64 %i, %i, %w; add.s64 %o, %o, %w;"]
    for case in cases:
        lines += body(case)
    return "\n".join([*lines, "ret;", "}"])


@pytest.mark.parametrize("group", GROUPS)
def test_opcodes(group: str, driver: Driver) -> None:
    cases = list(GROUPS[group]())
    batches = [cases[i : i + BATCH] for i in range(0, len(cases), BATCH)]
    text = "\n".join([HEAD, *(ptx(f"k{i}", b) for i, b in enumerate(batches))])
    module = driver.load(text.encode())
    wrong: list[str] = []
    for i, batch in enumerate(batches):
        wrong += run(module, f"k{i}", batch)
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong[:40])


def run(module: Module, kernel: str, cases: list[Case]) -> list[str]:
    """Launch one kernel and compare; returns what is wrong."""
    rows: list[list[int]] = []
    for case in cases:
        rng = random.Random(case.text)
        rows += [vectors(ty, rng) for ty in case.ins]
    ins, outs = np.array(rows, "u8"), np.zeros((len(cases), COUNT), "u8")
    module.launch(kernel, 1, COUNT, ins, outs)
    wrong, row = [], 0
    for case, got in zip(cases, outs, strict=True):
        given = rows[row : row + len(case.ins)]
        row += len(case.ins)
        wrong += first_difference(case, list(zip(*given, strict=True)), got)
    return wrong


def first_difference(case: Case, given: list[tuple[int, ...]], got: np.ndarray) -> list[str]:
    """A line about the first vector that disagrees with the model, if any does."""
    for values, result in zip(given, got, strict=True):
        want = case.model(*values)
        if not agrees(case, int(result), want):
            shown = "NaN" if want is None else hex(want)
            return [f"{case.text} {[hex(v) for v in values]} -> {int(result):#x}, expected {shown}"]
    return []


def agrees(case: Case, got: int, want: int | None) -> bool:
    bits = FORMATS[case.out].width if case.out in FORMATS else width(case.out)
    got &= (1 << bits) - 1
    if want is None:
        if case.out not in FORMATS:
            return True  # a packed NaN
        return math.isnan(FORMATS[case.out].decode(got))
    if case.tolerance:
        a, b = FORMATS[case.out].decode(got), FORMATS[case.out].decode(want)
        return math.isclose(a, b, rel_tol=case.tolerance, abs_tol=case.tolerance)
    return got == want


def test_the_table_is_large() -> None:
    assert len(CASES) > 450
