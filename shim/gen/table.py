"""The table of calls, read and checked.

Input: shim/api/calls.txt, abis.txt, softgpu.txt, errors.txt. No output. The grammar
is written at the top of calls.txt. Every error names the line."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .facts import API, Facts, Function, Param
from .layout import IDS, TYPES, Field, place

FIRST_ID = 64
ON_WIRE = ("post", "call", "slow")
MODES = ("local", "manual", "as", *ON_WIRE, "struct")
HANDLES = {
    "CUstream": "stream",
    "CUevent": "event",
    "CUmodule": "module",
    "CUlibrary": "library",
    "CUkernel": "kernel",
    "CUfunction": "kernel",
    "CUcontext": "context",
}


class TableError(Exception):
    """A line of the table that can't be right; the text says which and why."""


@dataclass(frozen=True)
class Alias:
    """A call in terms of another one: base name and arguments as C text."""

    base: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Arg:
    """One argument of a generated call: how it crosses the wire.

    kind: value, handle, device, in, str (raw bytes of the request), out, outs (raw bytes of the answer)."""

    param: Param
    kind: str
    wire: str = ""
    element: str = ""
    count: str = ""
    optional: bool = False
    range: tuple[str, ...] = ()


@dataclass
class Call:
    """One line of the table. Requests and answers are what crosses the wire; args is empty for operations."""

    line: int
    id: int
    mode: str
    name: str
    notes: str
    section: str
    request: list[Field] = field(default_factory=list)
    answer: list[Field] = field(default_factory=list)
    bytes_in: bool = False
    bytes_out: bool = False
    args: list[Arg] = field(default_factory=list)
    alias: Alias | None = None

    @property
    def on_wire(self) -> bool:
        return self.mode in ON_WIRE

    @property
    def is_cuda(self) -> bool:
        return self.name.startswith("cu")


class Table:
    """All lines, and the ABI and software GPU lists beside them."""

    def __init__(
        self,
        calls: list[Call],
        abis: dict[str, Alias],
        softgpu: set[str],
        errors: dict[str, str],
        facts: Facts,
    ) -> None:
        self.calls, self.abis, self.softgpu, self.errors, self.facts = calls, abis, softgpu, errors, facts

    @cached_property
    def wire(self) -> list[Call]:
        """Records, by id."""
        return sorted((c for c in self.calls if c.on_wire), key=lambda c: c.id)

    @cached_property
    def structs(self) -> list[Call]:
        return [c for c in self.calls if c.mode == "struct"]

    @cached_property
    def cuda(self) -> dict[str, Call]:
        """Base name -> its line, for the calls that this library answers."""
        return {c.name: c for c in self.calls if c.is_cuda}

    @cached_property
    def end(self) -> int:
        return max(c.id for c in self.wire) + 1

    @cached_property
    def hash(self) -> int:
        """64 bits over every id, mode, name and layout: both ends must have the same."""
        text = "\n".join(
            f"{c.id} {c.mode} {c.name} {c.bytes_in} {c.bytes_out} {place(c.request)} {place(c.answer)}"
            for c in self.wire + self.structs
        )
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def load(facts: Facts, api: Path = API) -> Table:
    """The whole table, or TableError."""
    calls = parse((api / "calls.txt").read_text(), facts)
    abis = parse_abis((api / "abis.txt").read_text(), facts)
    softgpu = set(rows(api / "softgpu.txt"))
    errors = {name: text for name, _, text in (row.partition(" ") for row in rows(api / "errors.txt"))}
    if unknown := sorted(n for n in softgpu if n not in facts.bases):
        raise TableError(f"softgpu.txt: not in the header: {', '.join(unknown)}")
    return Table(calls, abis, softgpu, errors, facts)


def rows(path: Path) -> list[str]:
    """Lines of a list, without comments."""
    return [
        line.strip() for line in path.read_text().split("\n") if line.strip() and not line.startswith("#")
    ]


def parse(text: str, facts: Facts) -> list[Call]:
    """The lines of calls.txt."""
    calls: list[Call] = []
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("# ----"):
            section = line.strip("#- ").strip()
        elif line.strip() and not line.startswith("#"):
            try:
                calls.append(parse_line(number, line, section, facts))
            except TableError as error:
                raise TableError(f"calls.txt:{number}: {error}") from None
    check_unique(calls)
    return calls


def parse_line(number: int, line: str, section: str, facts: Facts) -> Call:
    words = line.split(None, 3)
    if len(words) < 3:
        raise TableError("expected: id mode name notes")
    id, mode, name, notes = words[0], words[1], words[2], words[3] if len(words) == 4 else ""
    if mode not in MODES:
        raise TableError(f"mode {mode} is none of {', '.join(MODES)}")
    if (mode in ON_WIRE) != id.isdigit() or (id.isdigit() and int(id) < FIRST_ID):
        raise TableError(f"mode {mode} needs {'an id of 64 or above' if mode in ON_WIRE else 'the id -'}")
    call = Call(number, int(id) if id.isdigit() else 0, mode, name, notes, section)
    if call.is_cuda and name not in facts.bases:
        raise TableError(f"{name} is not in the header")
    if mode == "as":
        call.alias = parse_alias(notes, facts)
    elif call.is_cuda and call.on_wire:
        fill_from_header(call, facts.newest(name), facts)
    elif not call.is_cuda:
        fill_from_fields(call)
    elif notes:
        raise TableError(f"mode {mode} takes no notes")
    return call


def check_unique(calls: list[Call]) -> None:
    for key in ("id", "name"):
        seen: dict[object, int] = {}
        for call in calls:
            value = getattr(call, key)
            if value and value in seen:
                raise TableError(
                    f"calls.txt:{call.line}: {key} {value} is used in line {seen[value]} already"
                )
            seen[value] = call.line


def parse_alias(text: str, facts: Facts) -> Alias:
    match = re.fullmatch(r"(\w+)\((.*)\)", text.strip())
    if not match or match[1] not in facts.bases:
        raise TableError("expected: cuName(arguments), a name of the header")
    arguments = tuple(a.strip() for a in match[2].split(",") if a.strip())
    wanted = len(facts.newest(match[1]).params)
    if len(arguments) != wanted:
        raise TableError(f"{match[1]} takes {wanted} arguments, not {len(arguments)}")
    return Alias(match[1], arguments)


def parse_abis(text: str, facts: Facts) -> dict[str, Alias]:
    """symbol -> the newest ABI's call that answers it."""
    found = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            symbol, _, rest = line.partition(" ")
            if symbol not in facts.functions:
                raise TableError(f"abis.txt:{number}: {symbol} is not in the header")
            found[symbol] = parse_alias(rest, facts)
    return found


# ---- internal operations: fields are written out


def fill_from_fields(call: Call) -> None:
    before, _, after = call.notes.partition("=>")
    call.request, call.bytes_in = parse_fields(before)
    call.answer, call.bytes_out = parse_fields(after)
    if call.mode == "post" and (call.answer or call.bytes_out):
        raise TableError("a posted operation has no answer")


def parse_fields(text: str) -> tuple[list[Field], bool]:
    words = text.split()
    raw = bool(words) and words[-1] == "bytes"
    return [parse_field(word) for word in (words[:-1] if raw else words)], raw


def parse_field(word: str) -> Field:
    match = re.fullmatch(r"(\w+):(\w+)(?:\[(\d+)\])?", word)
    if not match or (match[2] not in TYPES and match[2] not in IDS):
        raise TableError(f"{word}: expected name:type, with one of {', '.join([*TYPES, *IDS])}")
    return Field(match[1], match[2], int(match[3] or 0))


# ---- calls of the header: fields follow from the arguments and their notes


def fill_from_header(call: Call, function: Function, facts: Facts) -> None:
    notes = dict(parse_note(word) for word in call.notes.split())
    if unknown := set(notes) - {p.name for p in function.params}:
        raise TableError(f"{call.name} has no argument {', '.join(sorted(unknown))}")
    call.args = [argument(p, notes.get(p.name, ""), facts) for p in function.params]
    call.request = [f for a in call.args for f in request_fields(a)]
    call.answer = [Field(a.param.name, a.wire) for a in call.args if a.kind == "out"]
    call.bytes_in = any(a.kind in ("in", "str") for a in call.args)
    call.bytes_out = any(a.kind == "outs" for a in call.args)
    if call.mode == "post" and (call.answer or call.bytes_out):
        raise TableError("a posted call can't have an out argument")
    if sum(a.kind == "outs" for a in call.args) > 1:
        raise TableError("only one out array")


def parse_note(word: str) -> tuple[str, str]:
    name, colon, note = word.partition(":")
    if not colon:
        raise TableError(f"{word}: expected argument:note")
    return name, note


def request_fields(arg: Arg) -> list[Field]:
    if arg.kind in ("in", "str"):
        return [Field(f"{arg.param.name}_bytes", "u32")]
    return [Field(arg.param.name, arg.wire)] if arg.kind in ("value", "handle", "device") else []


def argument(param: Param, note: str, facts: Facts) -> Arg:
    if note.startswith("at["):
        if facts.resolve(param.type) != "unsigned long long":
            raise TableError(f"{param.name}: at[] is for device pointers")
        return Arg(param, "value", "u64", range=tuple(x.strip() for x in note[3:-1].split(",")))
    if "*" in param.type:
        return pointer(param, note, facts)
    if note:
        raise TableError(f"{param.name} is no pointer and takes no note")
    if param.type in HANDLES:
        return Arg(param, "handle", "u64", element=HANDLES[param.type])
    if facts.resolve(param.type) == "int" and param.type.startswith("CUdevice"):
        return Arg(param, "device", "i32")
    if wire := facts.scalar(param.type):
        return Arg(param, "value", wire)
    raise TableError(
        f"{param.name}: a {param.type} can't be forwarded by generated code; make the call manual"
    )


def pointer(param: Param, note: str, facts: Facts) -> Arg:
    match = re.fullmatch(r"(in|out|str)(?:\[(\w+)\])?(\?)?", note)
    if not match:
        raise TableError(f"{param.name}: a pointer needs one of :in :in[count] :out :out? :out[count] :str")
    element = re.sub(r"^const |\s*\*$", "", param.type).strip()
    wire = facts.scalar(element) or ""
    if element in HANDLES or "*" in element or (match[1] == "out" and not match[2] and not wire):
        raise TableError(
            f"{param.name}: {element} can't be forwarded by generated code; make the call manual"
        )
    if match[1] == "out":
        return Arg(param, "outs" if match[2] else "out", wire, element, match[2] or "", bool(match[3]))
    return Arg(param, match[1], wire, element, match[2] or "")
