"""PTX text to syntax: one function or one variable declaration at a time, by recursive descent over tokens.

Registers declared in inner scopes are renamed, so that names are unique in a function. Damaged text gives a PtxError
with the position; nothing here loops without taking a token.
"""

from __future__ import annotations

import re

from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.syntax import (
    Bits,
    Function,
    Group,
    Instr,
    Int,
    Label,
    Mem,
    Not,
    Operand,
    Pair,
    Ref,
    Reg,
    Sink,
    Special,
    Sym,
    Var,
    Vec,
)  # fmt: skip
from remora.engine.softgpu.compiler.types import SIZE

TOKEN = re.compile(
    r"""\s*(?:
  (?P<float>0[fF][0-9a-fA-F]{8}(?![0-9a-fA-F]) | 0[dD][0-9a-fA-F]{16}) |
  (?P<number>0[xX][0-9a-fA-F]+U? | 0[bB][01]+U? | \d+\.\d*(?:[eE][-+]?\d+)? | \d+[eE][-+]\d+ | \d+U?) |
  (?P<word>[%$._A-Za-z][\w$.]*(?:::[\w.]+)*) |
  (?P<string>"(?:[^"\\\n]|\\.)*") |
  (?P<sign><<|>>|==|!=|<=|>=|&&|\|\||[-+*/{}()\[\];:,<>=@!|&~^?])
)""",
    re.VERBOSE,
)
SPACES = frozenset({".local", ".shared", ".param", ".global", ".const"})
LINKAGE = frozenset({".visible", ".extern", ".weak", ".common"})
LIMITS = frozenset(
    {".maxntid", ".reqntid", ".minnctapersm", ".maxnctapersm", ".maxnreg", ".reqnctapercluster", ".maxclusterrank",
     ".abi_preserve", ".abi_preserve_control"}
)  # fmt: skip
NUMBERED = re.compile(r"(.*?)(\d+)$")
MAX_BYTES = 1 << 40  # a variable larger than this is damage, not data


def number(text: str) -> int | float:
    """The value of a PTX number literal."""
    digits = text.rstrip("U")
    head = digits[:2].lower()
    if head == "0x":
        return int(digits, 16)
    if head == "0b":
        return int(digits, 2)
    if "." in digits or "e" in digits or "E" in digits:
        return float(digits)
    if len(digits) > 1 and digits[0] == "0":
        try:
            return int(digits, 8)
        except ValueError as error:
            raise PtxError(f"bad octal number {text}") from error
    return int(digits)


def float_bits(text: str) -> Bits:
    """0f... or 0d..."""
    return Bits(int(text[2:], 16), 32 if text[1] in "fF" else 64)


class Tokens:
    """A cursor over the tokens of text[start:end]; the list ends in an empty token."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.places: list[int] = []
        self.i = 0
        pos = start
        for match in iter(TOKEN.scanner(text, start, end).match, None):
            kind = match.lastgroup or ""
            self.kinds.append(kind)
            self.texts.append(match.group(kind))
            pos = match.end()
            self.places.append(match.start(kind))
        if text[pos:end].strip():
            raise PtxError(f"unexpected text {text[pos:end].strip()[:20]!r}", pos)
        for _ in range(2):  # peek(1) at the end is legal
            self.kinds.append("end")
            self.texts.append("")
            self.places.append(end)

    @property
    def pos(self) -> int:
        return self.places[self.i]

    @property
    def kind(self) -> str:
        return self.kinds[self.i]

    def peek(self, ahead: int = 0) -> str:
        return self.texts[self.i + ahead]

    def next(self) -> str:
        if self.kinds[self.i] == "end":
            raise PtxError("the text ends in the middle of a statement", self.pos)
        self.i += 1
        return self.texts[self.i - 1]

    def accept(self, text: str) -> bool:
        if self.texts[self.i] != text or self.kinds[self.i] == "end":
            return False
        self.i += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise PtxError(f"expected {text!r}, found {self.peek()!r}", self.pos)

    def skip_past(self, text: str) -> None:
        while self.next() != text:
            pass

    def integer(self) -> int:
        """A signed integer literal."""
        negative = self.accept("-")
        if self.kind != "number":
            raise PtxError(f"expected a number, found {self.peek()!r}", self.pos)
        value = number(self.next())
        if isinstance(value, float):
            raise PtxError("expected a whole number", self.pos)
        return -value if negative else value


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


class FunctionParser(Declarations):
    """One .entry or .func: header, and body if wanted."""

    def __init__(self, text: str, start: int, end: int) -> None:
        super().__init__(text, start, end)
        self.renames = 0
        self.scopes: list[dict[str, str]] = [{}]
        self.ranges: list[dict[str, tuple[str, str]]] = [{}]

    def header(self) -> Function:
        """.entry name (parameters) directives, up to and without the brace."""
        t = self.t
        pos = t.pos
        while t.peek() in LINKAGE:
            t.next()
        function = Function("", t.next() == ".entry", pos=pos)
        while t.accept(".attribute"):
            t.skip_past(")")
        if t.peek() == "(":
            function.rets = self.parameters()
        function.name = t.next()
        if t.peek() == "(":
            function.params = self.parameters()
        while t.peek() not in ("{", ";", ""):
            self.directive(function)
        return function

    def directive(self, function: Function) -> None:
        t = self.t
        word = t.next()
        if word in LIMITS:
            values = [t.integer()]
            while t.accept(","):
                values.append(t.integer())
            function.limits[word] = values
        elif word == ".pragma":
            t.skip_past(";")

    def function(self) -> Function:
        """Header and body."""
        self.f = self.header()
        for p in self.f.rets + self.f.params:
            self.scopes[0][p.name] = p.name
            if p.space == "reg":
                self.f.regs[p.name] = p.type
        self.t.expect("{")
        while self.scopes:
            if self.t.accept("}"):
                self.scopes.pop()
                self.ranges.pop()
            elif self.t.accept("{"):
                self.scopes.append({})
                self.ranges.append({})
            else:
                self.statement()
        return self.f

    def declare(self, name: str) -> str:
        unique = name
        if len(self.scopes) > 1:
            self.renames += 1
            unique = f"{name}@{self.renames}"
        self.scopes[-1][name] = unique
        return unique

    def resolve(self, name: str) -> str:
        """The unique name of `name` here; registers of a range (%r<9>) come to be when first named."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        match = NUMBERED.match(name)
        if match:
            for ranges in reversed(self.ranges):
                if match[1] in ranges:
                    prefix, kind = ranges[match[1]]
                    self.f.regs.setdefault(prefix + match[2], kind)
                    return prefix + match[2]
        return name

    def statement(self) -> None:
        t = self.t
        word = t.peek()
        if word == ".reg":
            self.registers()
        elif word in SPACES:
            for v in self.variables():
                v.name = self.declare(v.name)
                self.f.vars.append(v)
        elif word == ".loc":
            self.location()
        elif word == ".pragma":
            t.skip_past(";")
        elif word.startswith("."):
            raise UnsupportedError(f"directive {word}", t.pos)
        elif t.kind == "word" and t.peek(1) == ":":
            self.label()
        else:
            self.instruction()

    def registers(self) -> None:
        t = self.t
        t.next()
        kind = t.next()[1:]
        if kind not in SIZE:
            raise UnsupportedError(f"registers of type .{kind}", t.pos)
        while True:
            name = t.next()
            if t.accept("<"):
                t.integer()
                t.expect(">")
                self.renames += 1
                prefix = name if len(self.scopes) == 1 else f"{name}@{self.renames}_"
                self.ranges[-1][name] = (prefix, kind)
            else:
                self.f.regs[self.declare(name)] = kind
            if t.accept(";"):
                return
            t.expect(",")

    def location(self) -> None:
        """.loc file line column [, function_name label [+ n], inlined_at file line column]"""
        t = self.t
        t.next()
        for _ in range(3):
            t.integer()
        while t.accept(","):
            if t.next() == "function_name":
                t.next()
                if t.accept("+"):
                    t.integer()
            else:
                for _ in range(3):
                    t.integer()

    def label(self) -> None:
        t = self.t
        name = t.next()
        t.next()
        if t.peek() in (".branchtargets", ".calltargets"):
            t.next()
            targets = [t.next()]
            while t.accept(","):
                targets.append(t.next())
            t.expect(";")
            self.f.tables[name] = targets
        elif t.peek() == ".callprototype":
            t.skip_past(";")
        else:
            self.f.body.append(Label(name))

    def instruction(self) -> None:
        t = self.t
        pos, pred = t.pos, None
        if t.accept("@"):
            negated = t.accept("!")
            name = self.resolve(t.next())
            pred = Not(name) if negated else Reg(name)
        if t.kind != "word":
            raise PtxError(f"expected an instruction, found {t.peek()!r}", t.pos)
        op = t.next()
        args = self.items(";")
        self.f.body.append(Instr(op, op.split("."), args, pred, pos))

    def operand(self) -> Operand:
        t = self.t
        first = self.plain_operand()
        return Pair(first, self.plain_operand()) if t.accept("|") else first

    def plain_operand(self) -> Operand:
        t = self.t
        kind, word = t.kind, t.next()
        if word == "{":
            return Vec(self.items("}"))
        if word == "(":
            return Group(self.items(")"))
        if word == "[":
            return self.memory()
        if word == "!":
            return Not(self.resolve(t.next()))
        if word == "-":
            value = number(t.next()) if t.kind == "number" else None
            if value is None:
                raise PtxError("expected a number after -", t.pos)
            return Int(-value)
        if kind == "float":
            return float_bits(word)
        if kind == "number":
            return Int(number(word))
        if kind != "word":
            raise PtxError(f"expected an operand, found {word!r}", t.pos)
        return self.named(word)

    def named(self, word: str) -> Operand:
        t = self.t
        if word == "_":
            return Sink()
        name = self.resolve(word)
        base, _, component = name.partition(".")
        if name in self.f.regs:
            return Reg(name)
        if component in ("x", "y", "z", "w") and self.resolve(base) in self.f.regs:
            raise UnsupportedError("vector registers", t.pos)
        if name.startswith("%"):
            return Special(name)
        offset = 0
        if t.peek() in ("+", "-") and t.kinds[t.i + 1] == "number":
            t.accept("+")
            offset = t.integer()
        return Sym(name, offset)

    def items(self, closing: str) -> list[Operand]:
        """Operands between commas, up to and with `closing`."""
        found: list[Operand] = []
        while not self.t.accept(closing):
            if found:
                self.t.expect(",")
            found.append(self.operand())
        return found

    def memory(self) -> Mem:
        t = self.t
        base, offset = self.operand(), 0
        if isinstance(base, Sym):
            base, offset = Sym(base.name), base.offset
        while t.peek() in ("+", "-"):
            if t.peek() == "+":
                t.next()
            if t.kind != "number" and t.peek() != "-":
                raise UnsupportedError("an address that adds two registers", t.pos)
            offset += t.integer()
        extra: list[Operand] = []
        while t.accept(","):
            extra.append(self.operand())
        t.expect("]")
        return Mem(base, offset, tuple(extra))
