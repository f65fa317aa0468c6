"""Writes shim/generated/calls.fbs: every record as a FlatBuffers struct, for readers in any language.

Input: the table. Layouts are the same byte for byte; tests read recorded frames with flatc's readers."""

import re

from .layout import Field, place
from .table import Call, Table, parse_fields

# Of transport/wire.h: every record's header, and what the channel and the session send.
FIXED = {
    "Record": "op:u16 flags:u16 size:u32 seq:u32 ctx:u16 thread:u16",
    "Reply": "status:i32 reserved:u32",
    "Done": "token:u64 status:i32 reserved:u32",
    "Callback": "token:u64 status:i32 reserved:u32",
    "Pull": "token:u64 offset:u64 size:u32 tag:u32",
    "CallbackDone": "kind:u32 reserved:u32 token:u64",
}
HEAD = """namespace remora.calls;

/// Operations by number, as in a record's header.
"""


def outputs(table: Table) -> dict[str, str]:
    ops = "".join(f"  {title(c.name)} = {c.id},\n" for c in table.wire)
    bodies = [struct(name, "", parse_fields(fields)[0]) for name, fields in FIXED.items()]
    bodies += [struct(*s) for c in table.wire for s in messages(c)]
    bodies += [struct(*piece(c)) for c in table.structs]
    text = f"{HEAD}enum Op : ushort {{\n{ops}}}\n\n" + "\n".join(b for b in bodies if b)
    return {"shim/generated/calls.fbs": text}


def messages(call: Call) -> list[tuple[str, str, list[Field]]]:
    """(struct name, comment, fields) of a call's request and answer."""
    raw_in = ", then raw bytes" if call.bytes_in else ""
    raw_out = ", then raw bytes" if call.bytes_out else ""
    name = title(call.name)
    return [
        (f"{name}Request", f"{call.name} ({call.id}, {call.mode}){raw_in}", call.request),
        (f"{name}Answer", f"answers {call.name}{raw_out}", call.answer),
    ]


def piece(call: Call) -> tuple[str, str, list[Field]]:
    return f"{title(call.name)}Piece", "part of raw bytes", call.request


def struct(name: str, comment: str, fields: list[Field]) -> str:
    rows = "".join(f"  {snake(p.field.name)}:{p.field.schema};\n" for p in place(fields))
    above = f"/// {comment}\n" if comment else ""
    return f"{above}struct {name} {{\n{rows}}}\n" if fields else ""


def title(name: str) -> str:
    """cuMemsetD8Async -> CuMemsetD8Async, copy_in_pull -> CopyInPull."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def snake(name: str) -> str:
    """dstDevice -> dst_device."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
