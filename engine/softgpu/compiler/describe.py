"""A module's description as the driver reads it: kernels, parameters, variables (../kernel_abi.h, part
2).
"""

from __future__ import annotations

import math
import re
import struct

from remora.engine.softgpu.compiler import abi
from remora.engine.softgpu.compiler.declarations import Declarations
from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.module import Module, align_up
from remora.engine.softgpu.compiler.syntax import Bits, Function, Ref, Var
from remora.engine.softgpu.compiler.types import SIZE

MAX_THREADS = 1024
MAX_PARAM_BYTES = 1 << 16
STATIC_DECLARATION = re.compile(r"(?<![\w.])\.(?:global|const)\s+\.[^;]*;")
LOCAL_DECLARATION = re.compile(r"(?<![\w.])\.local\s+\.[^;{]*?\[(\d+)\];")


def param_layout(params: list[Var]) -> tuple[list[int], int]:
    """Offsets of a kernel's parameters in its buffer, and the buffer's size."""
    offsets, offset = [], 0
    for p in params:
        offset = align_up(offset, p.align)
        offsets.append(offset)
        offset += p.size
    if offset > MAX_PARAM_BYTES:
        raise PtxError(f"{offset} bytes of kernel parameters")
    return offsets, offset


def variable_symbol(name: str, function: str = "") -> str:
    """The symbol by which objects refer to a module variable."""
    return f"v.{function}.{name}" if function else f"v.{name}"


def function_symbol(name: str) -> str:
    """The symbol of a device function whose address is taken."""
    return f"f.{name}"


def max_threads(function: Function) -> int:
    """The most threads that a block of the kernel may have; the driver launches no more."""
    limit = function.limits.get(".reqntid") or function.limits.get(".maxntid") or [MAX_THREADS]
    return min(math.prod(limit), MAX_THREADS)


class Writer:
    """Collects the tables."""

    def __init__(self, module: Module) -> None:
        self.m = module
        self.kernels, self.params, self.variables = bytearray(), bytearray(), bytearray()
        self.references, self.data, self.strings = bytearray(), bytearray(), bytearray()

    def string(self, text: str) -> int:
        place = len(self.strings)
        self.strings += text.encode() + b"\0"
        return place

    def kernel(self, name: str) -> None:
        header, entry = self.m.header(name), self.m.entries[name]
        offsets, size = param_layout(header.params)
        first = len(self.params) // abi.DESC_PARAM.size
        for p, offset in zip(header.params, offsets, strict=True):
            self.params += abi.DESC_PARAM.pack(offset, p.size, p.align, 0)
        required = (header.limits.get(".reqntid", [0, 0, 0]) + [1, 1])[:3]
        local = sum(int(n) for n in LOCAL_DECLARATION.findall(self.m.text, entry.body, entry.end))
        static = self.m.shared_layout(name)[1]
        try:
            self.kernels += abi.DESC_KERNEL.pack(
                self.string(name), first, len(offsets), size, static, local, max_threads(header),
                *required, header.limits.get(".minnctapersm", [0])[0], self.m.line(entry.start),
            )  # fmt: skip
        except struct.error as error:
            raise PtxError(f"a limit of {name} is out of range", entry.start) from error

    def variable(self, name: str, v: Var, local: bool = False) -> None:
        first = len(self.references) // abi.DESC_REFERENCE.size
        init = self.initial_bytes(v)
        flags = abi.VARIABLE_EXTERN * v.extern | abi.VARIABLE_MANAGED * v.managed
        flags |= abi.VARIABLE_LOCAL * local
        place = abi.DESC_NONE
        if init:
            self.data += bytes(align_up(len(self.data), 16) - len(self.data))
            place = len(self.data)
            self.data += init
        count = len(self.references) // abi.DESC_REFERENCE.size - first
        self.variables += abi.DESC_VARIABLE.pack(
            self.string(name), v.align, abi.SPACE[v.space], flags, v.size, place, len(init), first, count
        )

    def initial_bytes(self, v: Var) -> bytes:
        width, out = SIZE[v.type], bytearray()
        for item in v.init or ():
            if isinstance(item, Ref):
                self.reference(item, len(out), width)
                out += bytes(width)
            elif isinstance(item, Bits):
                out += item.bits.to_bytes(8, "little")[:width].ljust(width, b"\0")
            elif isinstance(item, float):
                out += struct.pack({4: "<f", 8: "<d"}.get(width, "<d"), item)[:width].ljust(width, b"\0")
            else:
                out += (item & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        return bytes(out)

    def reference(self, ref: Ref, offset: int, width: int) -> None:
        entry = self.m.entry(ref.name)
        if entry is not None and not entry.entry and entry.body >= 0:
            symbol = function_symbol(entry.name)
        elif ref.name in self.m.variables and self.m.variables[ref.name].space in abi.SPACE:
            symbol = variable_symbol(ref.name)
        else:
            raise UnsupportedError(f"an initializer refers to {ref.name}")
        size = 1 if ref.one_byte else width
        if size not in (1, 4, 8):
            raise UnsupportedError(f"an address in a variable of {width}-byte elements")
        addend = ref.offset & 0xFFFFFFFFFFFFFFFF
        self.references += abi.DESC_REFERENCE.pack(
            offset, addend, self.string(symbol), size, ref.shift & 0xFFFF
        )

    def finish(self) -> bytes:
        tables = [self.kernels, self.params, self.variables, self.references, self.data, self.strings]
        places, place = [], align_up(abi.DESC.size, 16)
        for table in tables:
            places.append(place)
            place = align_up(place + len(table), 16)
        head = abi.DESC.pack(
            abi.DESC_MAGIC, abi.KERNEL_ABI, place, version_number(self.m.version),
            target_number(self.m.target),
            abi.MODULE_FUNCTIONS * bool(self.m.taken_functions()),
            len(self.kernels) // abi.DESC_KERNEL.size, len(self.params) // abi.DESC_PARAM.size,
            len(self.variables) // abi.DESC_VARIABLE.size, len(self.references) // abi.DESC_REFERENCE.size, 0,
            *places, len(self.data), len(self.strings),
        )  # fmt: skip
        out = bytearray(place)
        out[: len(head)] = head
        for table, start in zip(tables, places, strict=True):
            out[start : start + len(table)] = table
        return bytes(out)


def version_number(text: str) -> int:
    """ "9.0" -> 90"""
    match = re.match(r"(\d{1,3})\.(\d)", text)
    return 10 * int(match[1]) + int(match[2]) if match else 0


def target_number(text: str) -> int:
    """ "sm_120a" -> 120"""
    match = re.match(r"(?:sm|compute)_(\d{2,4})", text)
    return int(match[1]) if match else 0


def describe(module: Module) -> bytes:
    """The description of a module."""
    writer = Writer(module)
    for entry in module.kernels():
        writer.kernel(entry.name)
    for v in module.variables.values():
        if v.space in abi.SPACE:
            writer.variable(v.name, v)
    for entry in module.entries.values():
        if entry.body >= 0:
            for match in STATIC_DECLARATION.finditer(module.text, entry.body, entry.end):
                for v in Declarations(module.text, match.start(), match.end()).variables():
                    writer.variable(f"{entry.name}.{v.name}", v, local=True)
    return writer.finish()
