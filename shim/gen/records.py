"""Writes shim/generated/records.h and ops.c: the structs that cross the wire and facts of each operation.

Input: the table. Also engine/generated/records.pxd, the same for Cython."""

from .layout import TYPES, Field, place, size
from .table import Call, Table

HEAD = """#ifndef REMORA_RECORDS_H
#define REMORA_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "../../transport/wire.h"

/* What a handler of the engine says instead of a CUresult. */
#define RM_PENDING (-1)    /* answered later, by whoever took the call over */
#define RM_BAD_RECORD (-2) /* the peer broke the protocol */

#define RM_RAW_MAX 65536u /* raw bytes of one argument of a generated call */

enum rm_mode { RM_MODE_NONE, RM_MODE_POST, RM_MODE_CALL, RM_MODE_SLOW };

typedef struct rm_op_info {
  const char *name; /* NULL: there is no such operation */
  uint8_t mode;     /* enum rm_mode */
  uint8_t bytes_in, bytes_out; /* raw bytes follow the request, the answer */
  uint16_t q_size, a_size;     /* of the structs; 0: none */
} rm_op_info;
"""


def outputs(table: Table) -> dict[str, str]:
    return {
        "shim/generated/records.h": header(table),
        "shim/generated/ops.c": operations(table),
        "engine/generated/records.pxd": declarations(table),
        "engine/generated/__init__.py": "",
        "engine/generated/__init__.pxd": "",
    }


def structs(table: Table) -> list[tuple[str, str, list[Field]]]:
    """(C name, size constant, fields) of every struct there is."""
    found = []
    for call in table.wire:
        found.append((f"rm_q_{call.name}", f"RM_Q_SIZE_{call.name}", call.request))
        found.append((f"rm_a_{call.name}", f"RM_A_SIZE_{call.name}", call.answer))
    return found + [(f"rm_s_{c.name}", f"RM_S_SIZE_{c.name}", c.request) for c in table.structs]


def header(table: Table) -> str:
    ids = "".join(f"  RM_CALL_{c.name} = {c.id},\n" for c in table.wire)
    return (
        f"{HEAD}\n#define RM_TABLE_HASH 0x{table.hash:016x}ull\n\nenum rm_call_op {{\n{ids}"
        f"  RM_CALL_END = {table.end},\n}};\n\nextern const rm_op_info rm_op_table[RM_CALL_END];\n\n"
        f"{''.join(struct(*s) for s in structs(table))}#endif\n"
    )


def struct(name: str, constant: str, fields: list[Field]) -> str:
    if not fields:
        return f"#define {constant} 0\n\n"
    rows = "".join(f"  {p.field.c};\n" for p in place(fields))
    checks = "".join(
        f'_Static_assert(offsetof({name}, {p.field.name}) == {p.offset}, "{name}.{p.field.name}");\n'
        for p in place(fields)
    )
    return (
        f"#define {constant} {size(fields)}\ntypedef struct {name} {{\n{rows}}} {name};\n"
        f'_Static_assert(sizeof({name}) == {constant}, "{name}");\n{checks}\n'
    )


def operations(table: Table) -> str:
    rows = "".join(operation(c) for c in table.wire)
    return f'#include "records.h"\n\nconst rm_op_info rm_op_table[RM_CALL_END] = {{\n{rows}}};\n'


def operation(c: Call) -> str:
    raw = f"{int(c.bytes_in)}, {int(c.bytes_out)}"
    sizes = f"RM_Q_SIZE_{c.name}, RM_A_SIZE_{c.name}"
    return f'    [RM_CALL_{c.name}] = {{"{c.name}", RM_MODE_{c.mode.upper()}, {raw}, {sizes}}},\n'


# ---- for Cython


def declarations(table: Table) -> str:
    names = [f"RM_CALL_{c.name}" for c in table.wire]
    names += [constant for _, constant, _ in structs(table)]
    constants = "".join(f"    enum: {n}\n" for n in ["RM_PENDING", "RM_BAD_RECORD", "RM_CALL_END", *names])
    bodies = "".join(cython_struct(name, fields) for name, _, fields in structs(table) if fields)
    return CYTHON_HEAD + constants + bodies


def cython_struct(name: str, fields: list[Field]) -> str:
    rows = "".join(f"        {TYPES[p.field.wire][0]} {dimension(p.field)}\n" for p in place(fields))
    return f"    ctypedef struct {name}:\n{rows}"


def dimension(field: Field) -> str:
    return field.name + (f"[{field.count}]" if field.count else "")


CYTHON_HEAD = """from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "transport/wire.h" nogil:
    ctypedef struct rm_record:
        uint16_t op
        uint16_t flags
        uint32_t size
        uint32_t seq
        uint16_t ctx
        uint16_t thread
    ctypedef struct rm_reply:
        int32_t status
        uint32_t reserved
    ctypedef struct rm_done:
        uint64_t token
        int32_t status
        uint32_t reserved
    ctypedef struct rm_callback:
        uint64_t token
        int32_t status
        uint32_t reserved
    ctypedef struct rm_pull:
        uint64_t token
        uint64_t offset
        uint32_t size
        uint32_t tag
    ctypedef struct rm_callback_done:
        uint32_t kind
        uint32_t reserved
        uint64_t token
    enum: RM_F_WAITS
    enum: RM_F_ERROR
    enum: RM_OP_PAD
    enum: RM_OP_REPLY
    enum: RM_OP_DONE
    enum: RM_OP_CALLBACK
    enum: RM_OP_PULL
    enum: RM_OP_PRINT
    enum: RM_OP_FIRST_CALL
    enum: RM_URGENT_MAX
    enum: RM_URGENT_CALLBACK_DONE

cdef extern from "shim/generated/records.h" nogil:
    ctypedef struct rm_op_info:
        const char *name
        uint8_t mode
        uint8_t bytes_in
        uint8_t bytes_out
        uint16_t q_size
        uint16_t a_size
    const rm_op_info rm_op_table[]
    const uint64_t RM_TABLE_HASH
    enum: RM_MODE_NONE
    enum: RM_MODE_POST
    enum: RM_MODE_CALL
    enum: RM_MODE_SLOW
"""
