"""Writes shim/generated/stubs.c: rm_<name> of every forwarded call of the header.

Input: the table. A stub checks its pointers, converts handles, opens the record, fills it, posts or waits.
Handles come first, so that a bad one never holds the ring."""

from .facts import Param
from .layout import place
from .table import Arg, Call, Table

HEAD = """#include <string.h>

#include "local.h"
#include "records.h"
#include "../runtime/call.h"

"""
ID_TYPES = {
    "kernel": "rm_id_kernel",
    "stream": "rm_id_stream",
    "event": "rm_id_event",
    "module": "rm_id_module",
    "library": "rm_id_library",
    "context": "rm_id_context",
}


def outputs(table: Table) -> dict[str, str]:
    stubs = [stub(c, table.facts.newest(c.name).params) for c in table.wire if c.is_cuda]
    return {"shim/generated/stubs.c": HEAD + "\n".join(stubs)}


def stub(call: Call, params: tuple[Param, ...]) -> str:
    arguments = ", ".join(p.declaration for p in params) or "void"
    lines = [*checks(call), *lengths(call), *handles(call), *opening(call), *filling(call), *ending(call)]
    return f"CUresult rm_{call.name}({arguments}) {{\n{''.join(f'  {line}{chr(10)}' for line in lines)}}}\n"


def checks(call: Call) -> list[str]:
    names = [a.param.name for a in call.args if "*" in a.param.type and not a.optional]
    test = " || ".join(f"!{n}" for n in names)
    return [f"if ({test}) return CUDA_ERROR_INVALID_VALUE;"] if names else []


def lengths(call: Call) -> list[str]:
    """Bytes of each piece of raw data, checked against what a record can hold."""
    lines = []
    for a in call.args:
        if a.kind == "str":
            lines.append(f"size_t {a.param.name}_size = strlen({a.param.name}) + 1;")
        if a.kind in ("in", "outs"):
            lines.append(f"size_t {a.param.name}_size = (size_t){a.count or 1} * sizeof *{a.param.name};")
    raw = [a.param.name for a in call.args if a.kind in ("in", "str", "outs")]
    return lines + [f"if ({n}_size > RM_RAW_MAX) return CUDA_ERROR_INVALID_VALUE;" for n in raw]


def handles(call: Call) -> list[str]:
    found = [a for a in call.args if a.kind == "handle"]
    if not found:
        return []
    names = ", ".join(f"{a.param.name}_id" for a in found)
    lines = [f"uint64_t {names};", "CUresult status;"]
    for a in found:
        lines.append(
            f"if ((status = {ID_TYPES[a.element]}({a.param.name}, &{a.param.name}_id))) return status;"
        )
    return lines


def opening(call: Call) -> list[str]:
    sizes = [f"RM_Q_SIZE_{call.name}"]
    sizes += [f"RM_ALIGNED({a.param.name}_size)" for a in call.args if a.kind in ("in", "str")]
    status = "status = " if any(a.kind == "handle" for a in call.args) else "CUresult status = "
    total = f"(uint32_t)({' + '.join(sizes)})" if len(sizes) > 1 else sizes[0]
    return [
        "rm_call call;",
        f"{status}rm_call_begin(&call, RM_CALL_{call.name}, {total});",
        "if (status) return status;",
    ]


def filling(call: Call) -> list[str]:
    lines = [f"rm_q_{call.name} *q = call.body;"] if call.request else []
    lines += [
        f"q->{f.field.name} = {source(call, f.field.name)};" for f in place(call.request) if not f.padding
    ]
    raw = [a.param.name for a in call.args if a.kind in ("in", "str")]
    if raw:
        lines.append(f"char *raw = (char *)call.body + RM_Q_SIZE_{call.name};")
    for i, name in enumerate(raw):
        lines.append(f"memcpy(raw, {name}, {name}_size);")
        if i + 1 < len(raw):
            lines.append(f"raw += RM_ALIGNED({name}_size);")
    return lines


def source(call: Call, name: str) -> str:
    """What a request field is set to."""
    arg = next(a for a in call.args if name in (a.param.name, f"{a.param.name}_bytes"))
    if arg.kind == "handle":
        return f"{name}_id"
    if arg.kind in ("in", "str"):
        return f"(uint32_t){arg.param.name}_size"
    return name


def ending(call: Call) -> list[str]:
    if call.mode == "post":
        return ["return rm_call_post(&call);"]
    outs = [a for a in call.args if a.kind == "out"]
    many = next((a for a in call.args if a.kind == "outs"), None)
    if not outs and not many:
        return ["return rm_call_wait(&call, NULL, 0);"]
    room = [f"rm_a_{call.name} a;"] if outs else []
    answer = "&a" if outs else "NULL"
    if many:
        room.append("uint32_t got = 0;")
        n = many.param.name
        wait = f"rm_call_wait_bytes(&call, {answer}, RM_A_SIZE_{call.name}, {n}, (uint32_t){n}_size, &got)"
    else:
        wait = f"rm_call_wait(&call, {answer}, RM_A_SIZE_{call.name})"
    return [
        *room,
        f"status = {wait};",
        "if (status) return status;",
        *map(store, outs),
        "return CUDA_SUCCESS;",
    ]


def store(arg: Arg) -> str:
    name = arg.param.name
    return f"{f'if ({name}) ' if arg.optional else ''}*{name} = a.{name};"
