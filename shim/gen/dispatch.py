"""Writes engine/generated/dispatch.pyx and .pxd: from a record to the driver call or the handler.

Input: the table. Every size is checked once, here; handles are looked up in the session; no GIL. What
the session gives is written in engine/session.pxd."""

from .table import Arg, Call, Table

FINDERS = {
    "stream": ("CUstream", "find_stream"),
    "event": ("CUevent", "find_event"),
    "module": ("CUmodule", "find_module"),
    "library": ("CUlibrary", "find_library"),
    "kernel": ("CUfunction", "find_kernel"),
    "context": ("CUcontext", "find_context"),
    "device": ("CUdevice", "find_device"),
}
INVALID = "cydriver.CUDA_ERROR_INVALID_VALUE"
PXD = '''"""One record, checked and executed."""
from libc.stdint cimport int32_t
from remora.engine.session cimport Call, Session

cdef int32_t dispatch(Session *s, Call *c) noexcept nogil
'''
HEAD = '''# distutils: sources = shim/generated/ops.c
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One record, checked and executed: the driver call, or the handler of an internal operation."""
from cpython.exc cimport PyErr_Clear
from libc.stdint cimport UINT64_MAX, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from cuda.bindings cimport cydriver
from remora.engine.generated.records cimport *
from remora.engine.session cimport (
{imports})

# A driver call raises when the driver lacks its symbol: told by this status, cleared in dispatch.
cdef enum: RAISED = -9999
ctypedef int32_t (*Handler)(Session *, Call *) noexcept nogil
cdef Handler handlers[{end}]


cdef bint whole(Call *c, const rm_op_info *op) noexcept nogil:
    """Splits the record into struct and raw bytes; False when it is not of the operation's size."""
    cdef uint32_t fixed = <uint32_t>sizeof(rm_record) + op.q_size
    if c.record.size < fixed or (c.record.size > fixed and not op.bytes_in):
        return False
    c.bytes = <const uint8_t *>c.record + fixed
    c.byte_count = c.record.size - fixed
    return op.a_size <= c.answer_room


cdef int32_t unsupported() noexcept nogil:
    with gil:
        PyErr_Clear()
    return cydriver.CUDA_ERROR_NOT_SUPPORTED


cdef int32_t dispatch(Session *s, Call *c) noexcept nogil:
    cdef uint16_t op = c.record.op
    cdef int32_t status
    if op >= RM_CALL_END or handlers[op] == NULL or not whole(c, &rm_op_table[op]):
        return RM_BAD_RECORD
    memset(c.answer, 0, rm_op_table[op].a_size)
    c.answer_bytes = rm_op_table[op].a_size
    status = handlers[op](s, c)
    return unsupported() if status == RAISED else status


cdef const uint8_t *take(Call *c, uint32_t *at, uint64_t size) noexcept nogil:
    """The next size raw bytes, NULL when there are fewer; pieces start on multiples of 8."""
    cdef uint32_t start = at[0]
    if start > c.byte_count or size > c.byte_count - start:
        return NULL
    at[0] = <uint32_t>((start + size + 7) & ~<uint64_t>7)
    return c.bytes + start


cdef uint64_t times(uint64_t a, uint64_t b) noexcept nogil:
    """a * b, or the largest number."""
    return UINT64_MAX if b and a > UINT64_MAX // b else a * b


cdef int32_t reaches(Session *s, uint64_t ptr, uint64_t pitch, uint64_t width, uint64_t rows) noexcept nogil:
    """Whether rows of width bytes, pitch apart, are the session's device memory; else a CUresult."""
    if width == 0 or rows == 0:
        return 0
    if width == UINT64_MAX or times(rows - 1, pitch) >= UINT64_MAX - width:
        return cydriver.CUDA_ERROR_INVALID_VALUE
    return check_range(s, ptr, (rows - 1) * pitch + width)

'''


def outputs(table: Table) -> dict[str, str]:
    bodies = [handler(c) for c in table.wire]
    fills = "".join(f"handlers[RM_CALL_{c.name}] = <Handler>do_{c.name}\n" for c in table.wire)
    text = HEAD.format(imports=imports(table), end=table.end) + "\n".join(bodies) + "\n\n" + fills
    return {"engine/generated/dispatch.pyx": text, "engine/generated/dispatch.pxd": PXD}


def imports(table: Table) -> str:
    names = ["Call", "Session", "check_range", *sorted(f for _, f in FINDERS.values())]
    names += [f"h_{c.name}" for c in table.wire if not c.is_cuda]
    return "".join(f"    {n},\n" for n in names)


def handler(call: Call) -> str:
    lines = [f"cdef int32_t do_{call.name}(Session *s, Call *c) except? RAISED nogil:"]
    lines += [f"    {line}" for line in (driver_call(call) if call.is_cuda else internal(call))]
    return "\n" + "\n".join(lines) + "\n"


def structs(call: Call, pointer: bool = True) -> list[str]:
    q, a = f"rm_q_{call.name}", f"rm_a_{call.name}"
    lines = [f"cdef const {q} *q = <const {q} *>(c.record + 1)"] if call.request else []
    return lines + ([f"cdef {a} *a = <{a} *>c.answer"] if call.answer else [])


def internal(call: Call) -> list[str]:
    """An operation's own handler, hand-written in the engine."""
    arguments = ["s", "c"]
    if call.request:
        arguments.append(f"<const rm_q_{call.name} *>(c.record + 1)")
    if call.answer:
        arguments.append(f"<rm_a_{call.name} *>c.answer")
    return [f"return h_{call.name}({', '.join(arguments)})"]


def driver_call(call: Call) -> list[str]:
    found = [a for a in call.args if a.kind in ("handle", "device")]
    raw = [a for a in call.args if a.kind in ("in", "str")]
    pointers = [a for a in call.args if a.param.type == "CUdeviceptr"]
    lines = structs(call)
    lines += [f"cdef cydriver.{FINDERS[element(a)][0]} {a.param.name}" for a in found]
    lines += ["cdef uint32_t at = 0"] if raw else []
    lines += [line for a in raw for line in piece(a)]
    lines += ["if at != c.byte_count: return RM_BAD_RECORD"] if raw else []
    many = next((a for a in call.args if a.kind == "outs"), None)
    lines += ["cdef int32_t status"] if found or pointers or many else []
    lines += [line for a in found for line in lookup(a)]
    lines += [line for a in pointers for line in reach(a)]
    invocation = f"cydriver.{call.name}({', '.join(value(a, call) for a in call.args)})"
    return lines + (collect(many, call, invocation) if many else [f"return {invocation}"])


def element(arg: Arg) -> str:
    return arg.element if arg.kind == "handle" else "device"


def lookup(arg: Arg) -> list[str]:
    name = arg.param.name
    return [f"status = {FINDERS[element(arg)][1]}(s, c, q.{name}, &{name})", "if status: return status"]


def reach(arg: Arg) -> list[str]:
    """The check that a device pointer's memory is the session's."""
    terms = [product(t) for t in arg.range]
    pitch, width, rows = terms if len(terms) == 3 else ("0", terms[0] if terms else "1", "1")
    return [f"status = reaches(s, q.{arg.param.name}, {pitch}, {width}, {rows})", "if status: return status"]


def product(term: str) -> str:
    """`N` or `N*4` in terms of the request."""
    name, _, factor = term.partition("*")
    return f"times(q.{name}, {factor})" if factor else f"q.{name}"


def piece(arg: Arg) -> list[str]:
    """Takes one argument's raw bytes and checks how many there are."""
    name = arg.param.name
    size = f"q.{name}_bytes"
    lines = [f"cdef const uint8_t *{name} = take(c, &at, {size})"]
    if arg.kind == "str":
        return [*lines, f"if {name} == NULL or {size} == 0 or {name}[{size} - 1] != 0: return RM_BAD_RECORD"]
    wanted = f"times(q.{arg.count}, sizeof({cython(arg)}))" if arg.count else f"sizeof({cython(arg)})"
    return [*lines, f"if {name} == NULL or {size} != {wanted}: return RM_BAD_RECORD"]


def collect(arg: Arg, call: Call, invocation: str) -> list[str]:
    """A call whose answer carries an array after its struct."""
    return [
        f"cdef uint64_t {arg.param.name}_size = times(q.{arg.count}, sizeof({cython(arg)}))",
        f"if {arg.param.name}_size > c.answer_room - RM_A_SIZE_{call.name}: return {INVALID}",
        f"status = {invocation}",
        f"if status == 0: c.answer_bytes += <uint32_t>{arg.param.name}_size",
        "return status",
    ]


def cython(arg: Arg) -> str:
    """The type an array argument points to."""
    return (
        arg.element
        if arg.element in ("int", "float", "char", "size_t") or " " in arg.element
        else f"cydriver.{arg.element}"
    )


def value(arg: Arg, call: Call) -> str:
    """One argument of the driver call."""
    name = arg.param.name
    if arg.kind in ("handle", "device"):
        return name
    if arg.kind == "out":
        return f"<{cython(arg)} *>&a.{name}"
    if arg.kind == "outs":
        return f"<{cython(arg)} *>(c.answer + RM_A_SIZE_{call.name})"
    if arg.kind in ("in", "str"):
        return f"<{cython(arg)} *>{name}"
    return f"<cydriver.{arg.param.type}>q.{name}" if arg.param.type.startswith("CU") else f"q.{name}"
