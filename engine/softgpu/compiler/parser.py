"""Functions from PTX text, one at a time, by recursive descent over tokens.

Registers declared in inner scopes are renamed, so that names are unique in a function. Damaged text
gives a PtxError with the position; nothing here loops without taking a token.
"""

from __future__ import annotations

import re

from remora.engine.softgpu.compiler.declarations import SPACES, Declarations
from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.syntax import (
    Function,
    Group,
    Instr,
    Int,
    Label,
    Mem,
    Not,
    Operand,
    Pair,
    Reg,
    Sink,
    Special,
    Sym,
    Vec,
)  # fmt: skip
from remora.engine.softgpu.compiler.tokens import float_bits, number
from remora.engine.softgpu.compiler.types import SIZE

LINKAGE = frozenset({".visible", ".extern", ".weak", ".common"})
LIMITS = frozenset(
    {".maxntid", ".reqntid", ".minnctapersm", ".maxnctapersm", ".maxnreg", ".reqnctapercluster",
     ".maxclusterrank", ".abi_preserve", ".abi_preserve_control"}
)  # fmt: skip
NUMBERED = re.compile(r"(.*?)(\d+)$")


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
