"""Writes tests/protocol/generated/cases.py: a known value for every field of every record, and its bytes.

Input: the table."""

import struct
from typing import Any

from .layout import TYPES, Field, place
from .table import Arg, Call, Table

COUNT = 3  # elements of arrays whose length is an argument
PACK = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f"}
FOLDER = "tests/protocol/generated"


def outputs(table: Table) -> dict[str, str]:
    return {f"{FOLDER}/cases.py": cases(table)}


# ---- values


def number(index: int, wire: str) -> Any:
    """A value whose bytes are all different and tell the field's place."""
    if wire == "f32":
        return index + 0.5
    raw = bytes(16 * (index % 7) + k + 1 for k in range(TYPES[wire][2]))
    return int.from_bytes(raw, "little")


def values(call: Call, fields: list[Field]) -> dict[str, Any]:
    """Field name -> value, lists for arrays."""
    counts = {a.count for a in call.args if a.count}
    sizes = {term.partition("*")[0] for a in call.args for term in a.range}
    found: dict[str, Any] = {}
    for i, f in enumerate(fields):
        one = COUNT if f.name in counts else 1000 + i if f.name in sizes else number(i, f.wire)
        found[f.name] = [number(i + k, f.wire) for k in range(f.count)] if f.count else one
    for a in raw_args(call):
        found[f"{a.param.name}_bytes"] = len(raw(a, call))
    return {f.name: found[f.name] for f in fields}


def raw_args(call: Call) -> list[Arg]:
    return [a for a in call.args if a.kind in ("in", "str")]


def raw(arg: Arg, call: Call) -> bytes:
    """An argument's raw bytes: a text, or as many elements as its count says."""
    if arg.kind == "str":
        return f"text of {arg.param.name}".encode() + b"\0"
    width = TYPES[arg.wire][2]
    return bytes(k + 1 for k in range(width * (COUNT if arg.count else 1)))


def packed(fields: list[Field], given: dict[str, Any]) -> bytes:
    """The struct's bytes, by Python's own packing: little endian, offsets from the layout."""
    out = b""
    for p in place(fields):
        value = [0] * p.field.count if p.padding else given[p.field.name]
        for one in value if isinstance(value, list) else [value]:
            out += struct.pack("<" + PACK[p.field.wire], one)
    return out


def request_bytes(call: Call) -> bytes:
    out = packed(call.request, values(call, call.request))
    for a in raw_args(call):
        piece = raw(a, call)
        out += piece + bytes(-len(piece) % 8)
    return out + (b"" if call.args or not call.bytes_in else b"raw bytes")


def answer_bytes(call: Call) -> bytes:
    out = packed(call.answer, values(call, call.answer))
    for a in call.args:
        if a.kind == "outs":
            out += bytes(k + 1 for k in range(TYPES[a.wire][2] * COUNT))
    return out


# ---- cases.py

CASES_HEAD = '''# ruff: noqa
"""Known values and golden bytes of every record."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    id: int
    name: str
    mode: str
    request: dict[str, Any]
    request_bytes: str
    answer: dict[str, Any]
    answer_bytes: str
    given: list[Any]  # what the driver is called with, for generated calls: None for out pointers


'''


def cases(table: Table) -> str:
    rows = "".join(f"    {case(c)},\n" for c in table.wire)
    return f"{CASES_HEAD}CASES = [\n{rows}]\n"


def case(c: Call) -> str:
    request, answer = values(c, c.request), values(c, c.answer)
    given = [told(a, request) for a in c.args]
    return (
        f'Case({c.id}, "{c.name}", "{c.mode}", {request},\n'
        f'         "{request_bytes(c).hex()}",\n         {answer}, "{answer_bytes(c).hex()}", {given})'
    )


def told(arg: Arg, request: dict[str, Any]) -> Any:
    """How the recording driver tells of one argument."""
    texts = {"in": "in", "str": f"text of {arg.param.name}"}
    return texts.get(arg.kind, request.get(arg.param.name))
