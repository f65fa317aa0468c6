"""A PTX module: found by a quick scan of its text, parsed only where someone asks.

The scan looks at braces and semicolons outside functions, so a library module of tens of megabytes is
indexed in well under a second. Functions are parsed (and kept) one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from remora.engine.softgpu.compiler.declarations import Declarations
from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.parser import LINKAGE, FunctionParser
from remora.engine.softgpu.compiler.syntax import Function, Ref, Sym, Var

COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
WORD = re.compile(r"\s*([%$._A-Za-z][\w$.]*|[^\s\w])")
BRACE = re.compile(r'[{}]|"(?:[^"\\\n]|\\.)*"')
BODY_OR_END = re.compile(r'[{;]|"(?:[^"\\\n]|\\.)*"')
SHARED_DECLARATION = re.compile(r"(?<![\w.])\.shared\s+\.[^;]*;")
NAME = re.compile(r"[A-Za-z_$%][\w$]*")
VARIABLE_SPACES = frozenset({".global", ".const", ".shared", ".tex", ".param"})
GUARD = 1 << 31  # shared memory of a kernel stays below this


def strip_comments(text: str) -> str:
    """Comments become blanks and line feeds, so that lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        return found if found[0] == '"' else " " + "\n" * found.count("\n")

    return COMMENT.sub(blank, text)


@dataclass(slots=True)
class Entry:
    """Where a function stands in the text; body is -1 for a declaration."""

    name: str
    entry: bool
    start: int
    body: int
    end: int


def align_up(value: int, align: int) -> int:
    """The next multiple of a power of two."""
    return (value + align - 1) & -align


class Module:
    """The index of one PTX text."""

    def __init__(self, text: str) -> None:
        self.text = strip_comments(text)
        self.version = ""
        self.target = ""
        self.entries: dict[str, Entry] = {}
        self.variables: dict[str, Var] = {}
        self.aliases: dict[str, str] = {}
        self._parsed: dict[str, Function] = {}
        self._taken: list[str] | None = None
        Scan(self).run()

    # -- looking things up

    def line(self, pos: int) -> int:
        """The line number of an offset, 0 when unknown."""
        return self.text.count("\n", 0, pos) + 1 if pos >= 0 else 0

    def kernels(self) -> list[Entry]:
        """The kernels in the order of the text: a kernel's index in every description."""
        return [e for e in self.entries.values() if e.entry and e.body >= 0]

    def entry(self, name: str) -> Entry | None:
        """A function by name, through aliases."""
        for _ in range(len(self.aliases) + 1):
            if name not in self.aliases:
                break
            name = self.aliases[name]
        return self.entries.get(name)

    def header(self, name: str) -> Function:
        """Parameters and limits only."""
        e = self.entries[name]
        return FunctionParser(self.text, e.start, e.body if e.body >= 0 else e.end).header()

    def function(self, name: str) -> Function:
        """The whole function, parsed once."""
        if name not in self._parsed:
            e = self.entries[name]
            if e.body < 0:
                raise UnsupportedError(f"call of the external function {name}", e.start)
            self._parsed[name] = FunctionParser(self.text, e.start, e.end).function()
        return self._parsed[name]

    def callees(self, name: str) -> set[str]:
        """Functions with a body that `name` mentions: calls, and addresses taken."""
        found = set()
        for instr in self.function(name).instructions():
            for arg in instr.args:
                if isinstance(arg, Sym) and (e := self.entry(arg.name)) and e.body >= 0:
                    found.add(e.name)
        return found

    def reach(self, name: str) -> list[str]:
        """`name` and everything it can call, in a fixed order."""
        order, todo = [name], [name]
        while todo:
            for callee in sorted(self.callees(todo.pop())):
                if callee not in order:
                    order.append(callee)
                    todo.append(callee)
        return order

    # -- addresses of functions

    def taken_functions(self) -> list[str]:
        """Device functions whose addresses are in initializers or in registers, in a fixed order."""
        if self._taken is None:
            self._taken = self._find_taken()
        return self._taken

    def _find_taken(self) -> list[str]:
        names = {r.name for v in self.variables.values() for r in v.init or () if isinstance(r, Ref)}
        devices = {e.name for e in self.entries.values() if not e.entry and e.body >= 0}
        for match in re.finditer(r"\bmov\.[ub]64\s+[^,;]+,\s*([\w$%]+)\s*;", self.text):
            names.add(match[1])
        return sorted(e.name for n in names if (e := self.entry(n)) and e.name in devices)

    # -- shared memory

    def shared_layout(self, kernel: str) -> tuple[dict[tuple[str, str], int], int]:
        """Offsets of shared variables by (function or "", name), and the static size in bytes.

        Works on the text, so that describing a module needs no parsing of bodies. Open arrays (dynamic shared
        memory) start where the static part ends.
        """
        offset, open_align = 0, 16
        layout: dict[tuple[str, str], int] = {}
        dynamic: list[tuple[str, str]] = []
        for owner, v in self._shared_variables(kernel):
            if (owner, v.name) in layout:
                raise UnsupportedError(f"two shared variables named {v.name} in one function")
            if v.size == 0 or v.extern:
                dynamic.append((owner, v.name))
                open_align = max(open_align, v.align)
                continue
            offset = align_up(offset, v.align)
            layout[owner, v.name] = offset
            offset += v.size
        if offset > GUARD:
            raise PtxError(f"{kernel} wants {offset} bytes of shared memory")
        offset = align_up(offset, open_align) if dynamic else offset
        layout.update(dict.fromkeys(dynamic, offset))
        return layout, offset

    def _shared_variables(self, kernel: str) -> list[tuple[str, Var]]:
        module_level = {n: v for n, v in self.variables.items() if v.space == "shared"}
        found: list[tuple[str, Var]] = []
        used: set[str] = set()
        for name in self._text_reach(kernel):
            e = self.entries[name]
            for match in SHARED_DECLARATION.finditer(self.text, e.body, e.end):
                found += [(name, v) for v in Declarations(self.text, match.start(), match.end()).variables()]
            if module_level:
                used |= module_level.keys() & set(NAME.findall(self.text, e.body, e.end))
        return [("", v) for n, v in module_level.items() if n in used] + found

    def _text_reach(self, kernel: str) -> list[str]:
        devices = {e.name for e in self.entries.values() if not e.entry and e.body >= 0} | self.aliases.keys()
        order = [kernel]
        for name in order:  # grows while it is walked
            e = self.entries[name]
            words = set(NAME.findall(self.text, e.body, e.end)) & devices if devices else set()
            for word in sorted(words):
                callee = self.entry(word)
                if callee and callee.body >= 0 and callee.name not in order:
                    order.append(callee.name)
        return order


class Scan:
    """The scan that fills a Module's index."""

    def __init__(self, module: Module) -> None:
        self.m = module
        self.text = module.text
        self.pos = 0

    def run(self) -> None:
        while (match := WORD.match(self.text, self.pos)) is not None:
            self.start = match.start(1)
            self.statement(match[1], match.end())
        if self.text[self.pos :].strip():
            raise PtxError(f"unexpected text {self.text[self.pos :].strip()[:20]!r}", self.pos)
        if not self.m.version:
            raise PtxError("no .version directive: this is not PTX", 0)

    def statement(self, word: str, end: int) -> None:
        if word == ".version":
            self.m.version = self.rest_of_line(end).strip()
        elif word == ".target":
            self.m.target = self.rest_of_line(end).split(",")[0].strip()
        elif word in (".address_size", ".file"):
            self.rest_of_line(end)
        elif word == ".section":
            self.pos = self.closing_brace(self.find("{", end))
        elif word == ".alias":
            self.alias(end)
        elif word == ".pragma":
            self.pos = self.find(";", end)
        elif word == ";":
            self.pos = end
        elif word in LINKAGE or word in VARIABLE_SPACES or word in (".entry", ".func"):
            self.declaration()
        else:
            raise PtxError(f"unexpected {word!r} outside a function", self.start)

    def rest_of_line(self, start: int) -> str:
        end = self.text.find("\n", start)
        self.pos = len(self.text) if end < 0 else end + 1
        return self.text[start : self.pos]

    def find(self, sign: str, start: int) -> int:
        """The offset after the next `sign`."""
        found = self.text.find(sign, start)
        if found < 0:
            raise PtxError(f"the text ends before {sign!r}", start)
        return found + 1

    def closing_brace(self, start: int) -> int:
        """The offset after the brace that closes the one before `start`."""
        depth = 1
        for match in BRACE.finditer(self.text, start):
            depth += {"{": 1, "}": -1}.get(match.group(), 0)
            if depth == 0:
                return match.end()
        raise PtxError("the text ends inside braces", start)

    def alias(self, start: int) -> None:
        self.pos = self.find(";", start)
        names = [n.strip() for n in self.text[start : self.pos - 1].split(",")]
        if len(names) != 2:
            raise PtxError("bad .alias", start)
        self.m.aliases[names[0]] = names[1]

    def declaration(self) -> None:
        linkage, end = set(), self.start
        while (match := WORD.match(self.text, end)) is not None and match[1] in LINKAGE:
            linkage.add(match[1])
            end = match.end()
        if match is None:
            raise PtxError("the text ends in a declaration", self.start)
        if match[1] in (".entry", ".func"):
            self.function(match[1] == ".entry")
        elif match[1] in VARIABLE_SPACES:
            self.variable(match.start(1), linkage)
        else:
            raise PtxError(f"unexpected {match[1]!r} in a declaration", match.start(1))

    def function(self, entry: bool) -> None:
        stop = next((m for m in BODY_OR_END.finditer(self.text, self.start) if m.group() in "{;"), None)
        if stop is None:
            raise PtxError("the text ends in a function's header", self.start)
        header = FunctionParser(self.text, self.start, stop.start()).header()
        declared = stop.group() == ";"
        self.pos = stop.end() if declared else self.closing_brace(stop.end())
        found = Entry(header.name, entry, self.start, -1 if declared else stop.start(), self.pos)
        old = self.m.entries.get(header.name)
        if old is not None and old.body >= 0 and not declared:
            raise PtxError(f"{header.name} is defined twice", self.start)
        if old is None or old.body < 0:
            self.m.entries.pop(header.name, None)
            self.m.entries[header.name] = found

    def variable(self, start: int, linkage: set[str]) -> None:
        self.pos = self.find(";", start)
        for v in Declarations(self.text, start, self.pos).variables():
            v.extern = ".extern" in linkage
            v.visible = bool(linkage & {".visible", ".weak", ".common", ".extern"})
            if v.name not in self.m.variables or self.m.variables[v.name].extern:
                self.m.variables[v.name] = v
