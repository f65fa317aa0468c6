"""Variable and parameter declarations, with their initial values."""

from __future__ import annotations

from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.syntax import Bits, Ref, Var
from remora.engine.softgpu.compiler.tokens import Tokens, float_bits, number
from remora.engine.softgpu.compiler.types import SIZE

SPACES = frozenset({".local", ".shared", ".param", ".global", ".const"})
MAX_BYTES = 1 << 40  # a variable larger than this is damage, not data


class Declarations:
    """Variable and parameter declarations."""

    def __init__(self, text: str, start: int = 0, end: int | None = None) -> None:
        self.t = Tokens(text, start, len(text) if end is None else end)

    def variables(self, one: bool = False) -> list[Var]:
        """`.space attributes name[..] = init, ...;` (a parameter: only one, no semicolon)."""
        t = self.t
        space = t.next()[1:]
        kind, vector, align, managed = self.attributes()
        found: list[Var] = []
        while True:
            found += self.declarator(space, kind, vector, align, managed)
            if one or not t.accept(","):
                break
        t.accept(";")
        return found

    def attributes(self) -> tuple[str, int, int, bool]:
        t = self.t
        kind, vector, align, managed = "", 1, 0, False
        while t.peek().startswith("."):
            word = t.next()
            if word == ".align":
                align = t.integer()
                if align < 1 or align & (align - 1) or align > 1 << 20:
                    raise PtxError(f"bad alignment {align}", t.pos)
            elif word == ".attribute":
                t.expect("(")
                while (attribute := t.next()) != ")":
                    managed |= attribute == ".managed"
            elif word in (".v2", ".v4", ".v8"):
                vector = int(word[2:])
            elif word[1:] in SIZE:
                kind = word[1:]
            elif word == ".ptr":
                while t.peek() in SPACES:
                    t.next()
            else:
                raise UnsupportedError(f"variable attribute {word}", t.pos)
        if not kind:
            raise PtxError("a declaration without a type", t.pos)
        return kind, vector, align, managed

    def declarator(self, space: str, kind: str, vector: int, align: int, managed: bool) -> list[Var]:
        t = self.t
        name, size = t.next(), SIZE[kind]
        if t.accept("<"):  # name<4>: name0 .. name3
            count = t.integer()
            t.expect(">")
            if not 0 <= count < 1 << 16:
                raise PtxError("too many variables", t.pos)
            return [
                Var(space, kind, f"{name}{i}", align or size, 1, size, managed=managed) for i in range(count)
            ]
        count = vector
        while t.accept("["):
            count *= 0 if t.peek() == "]" else t.integer()
            t.expect("]")
        init = self.initializer() if t.accept("=") else None
        if init is not None and count == 0:
            count = len(init)
        if not 0 <= count * size <= MAX_BYTES or (init is not None and len(init) > count):
            raise PtxError(f"bad size of variable {name}", t.pos)
        return [Var(space, kind, name, align or size * vector, count, size * count, init, managed=managed)]

    def initializer(self) -> list[int | float | Bits | Ref]:
        t = self.t
        if t.accept("{"):
            items: list[int | float | Bits | Ref] = []
            while not t.accept("}"):
                items += self.initializer()
                t.accept(",")
            return items
        negative = False
        while t.peek() in ("+", "-"):
            negative ^= t.next() == "-"
        kind, word = t.kind, t.next()
        if kind == "float":
            return [float_bits(word)]
        if kind == "number":
            value = number(word)
            if t.accept("("):  # 0xFF00(symbol): one byte of an address
                inner = self.initializer()
                t.expect(")")
                if (
                    len(inner) != 1
                    or not isinstance(inner[0], Ref)
                    or not isinstance(value, int)
                    or not value
                ):
                    raise PtxError("bad masked initializer", t.pos)
                shift = (value & -value).bit_length() - 1
                return [Ref(inner[0].name, inner[0].offset, shift, one_byte=True)]
            return [-value if negative else value]
        if kind != "word":
            raise PtxError(f"bad initializer {word!r}", t.pos)
        if word == "generic":
            t.expect("(")
            word = t.next()
            inner_offset = t.integer() if t.accept("+") else 0
            t.expect(")")
            return [Ref(word, inner_offset + (t.integer() if t.accept("+") else 0))]
        return [Ref(word, t.integer() if t.accept("+") else 0)]

    def parameters(self) -> list[Var]:
        t = self.t
        t.expect("(")
        found: list[Var] = []
        while not t.accept(")"):
            if t.accept(".reg"):
                kind = t.next()[1:]
                if kind not in SIZE:
                    raise PtxError(f"unknown type .{kind}", t.pos)
                found.append(Var("reg", kind, t.next(), SIZE[kind], 1, SIZE[kind]))
            elif t.peek() == ".param":
                found += self.variables(one=True)
            else:
                raise PtxError(f"expected a parameter, found {t.peek()!r}", t.pos)
            t.accept(",")
        return found
