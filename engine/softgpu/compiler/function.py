"""One PTX function as LLVM IR: registers, operands and results. The opcodes are in arith.py, memory.py
and the others.

A register is a stack slot that LLVM turns into SSA form. Registers that always hold a pointer are kept
as pointers (pointers.py), so that LLVM sees addresses being computed rather than integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler import abi, flow, special
from remora.engine.softgpu.compiler.builder import Builder
from remora.engine.softgpu.compiler.describe import function_symbol, variable_symbol
from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.opcodes import stack
from remora.engine.softgpu.compiler.registry import handler_of
from remora.engine.softgpu.compiler.syntax import (
    Bits,
    Function,
    Instr,
    Int,
    Label,
    Mem,
    Not,
    Operand,
    Reg,
    Sink,
    Special,
    Sym,
    Vec,
)  # fmt: skip
from remora.engine.softgpu.compiler.types import FLOAT, SIGNED, bits, int_type, llvm_type

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.guard import Guard
    from remora.engine.softgpu.compiler.unit import Unit


#: What a handler runs into when operands are missing or of the wrong kind.
MALFORMED = (KeyError, IndexError, ValueError, TypeError, AttributeError, AssertionError)


@dataclass(slots=True)
class Scope:
    """The PTX function being translated: the outermost one, or one inlined into it."""

    function: Function
    prefix: str  # makes names unique among inlined copies
    return_label: str
    memory: dict[str, str] = field(default_factory=dict)  # local variables and parameters: IR pointers
    pointers: frozenset[str] = frozenset()
    spins: frozenset[int] = frozenset()
    in_step: frozenset[int] = frozenset()
    stack: tuple[str, str] | None = None  # of alloca: the buffer, and how much of it is taken


class FunctionEmitter(Builder):
    """Translates one function, and inlines the callees that suspend."""

    def __init__(self, unit: Unit, function: Function, kernel: bool) -> None:
        super().__init__(unit.declarations)
        self.unit = unit
        self.kernel = kernel
        self.slots: dict[str, tuple[str, str]] = {}
        self.carry = ""
        self.inlined = 0
        self.settled: dict[int, str] = {}  # comparisons whose outcome is known, by id
        self.stack: list[str] = []
        self.index = 0  # of the instruction being translated
        self.scope = self.new_scope(function, "", "return")

    # -- shape

    def new_scope(self, function: Function, prefix: str, return_label: str) -> Scope:
        """A scope with memory for the function's own variables."""
        scope = Scope(function, prefix, return_label)
        scope.pointers = self.unit.pointers_of(function)
        scope.stack = stack.prepare(self, function)
        if self.unit.coroutine:
            scope.spins, scope.in_step = flow.spins(function), flow.in_step(function)
        for v in function.vars:
            if v.space in ("local", "param"):
                scope.memory[v.name] = self.alloca(f"[{max(v.size, 1)} x i8]", max(v.align, 8))
            elif v.space in abi.SPACE:
                if "@" in v.name:
                    raise UnsupportedError(f"a .{v.space} variable in an inner scope: {v.name}", function.pos)
                scope.memory[v.name] = self.unit.external(variable_symbol(v.name, function.name))
        return scope

    def settle(self, guard: Guard | None) -> None:
        """Translate only for threads that pass a guard."""
        for term in guard.terms if guard else []:
            self.settled[id(term.instruction)] = "true" if term.holds else "false"

    def body(self) -> None:
        """The instructions of the current scope."""
        function = self.scope.function
        flow.check_labels(function)
        self.stack.append(function.name)
        for i, x in enumerate(function.body):
            if isinstance(x, Label):
                self.place(self.label_name(x.name))
                continue
            if self.terminated:
                self.lines.append(self.new_label("dead") + ":")
                self.terminated = False
            self.index = i
            self.instruction(x)
        self.stack.pop()

    def instruction(self, x: Instr) -> None:
        """One instruction, under its predicate."""
        try:
            handler = handler_of(x)
            if id(x) in self.settled:
                self.store(x.args[0], "pred", self.settled[id(x)])
                return
            if x.pred is None or x.name == "bra":
                handler(self, x)
                return
            yes, after = self.new_label("p"), self.new_label("q")
            self.branch_if(self.value(x.pred, "pred"), yes, after)
            self.lines.append(yes + ":")
            self.terminated = False
            handler(self, x)
            self.place(after)
        except PtxError as error:
            if error.pos < 0:
                error.pos = x.pos
            raise
        except MALFORMED as error:
            raise UnsupportedError(
                f"instruction {x.op} with these operands is not supported", x.pos
            ) from error

    def label_name(self, name: str) -> str:
        """The IR label of a PTX label."""
        return f'"L.{self.scope.prefix}{name}"'

    # -- registers

    def slot(self, name: str) -> tuple[str, str]:
        """The stack slot and PTX type of a register."""
        key = self.scope.prefix + name
        if key not in self.slots:
            ty = self.scope.function.regs.get(name)
            if ty is None:
                raise PtxError(f"undeclared register {name}")
            kind = "ptr" if name in self.scope.pointers else int_type(ty)
            self.slots[key] = self.alloca(kind), ty
            # What a program reads before writing it is a number, not LLVM's undefined behaviour.
            self.allocas.append(f"  store {kind} zeroinitializer, ptr {self.slots[key][0]}")
        return self.slots[key]

    def is_pointer(self, operand: Operand) -> bool:
        """Whether an operand is a register kept as a pointer."""
        return isinstance(operand, Reg) and operand.name in self.scope.pointers

    def pointer(self, operand: Operand) -> str:
        """A generic or global address as an LLVM pointer."""
        if self.is_pointer(operand):
            assert isinstance(operand, Reg)
            return self.emit(f"load ptr, ptr {self.slot(operand.name)[0]}")
        return self.emit(f"inttoptr i64 {self.value(operand, 'u64')} to ptr")

    def store_pointer(self, register: Operand, pointer: str) -> None:
        """Assign a register that is kept as a pointer."""
        assert isinstance(register, Reg)
        self.do(f"store ptr {pointer}, ptr {self.slot(register.name)[0]}")

    # -- operands

    def value(self, operand: Operand, ty: str) -> str:
        """An operand as an LLVM value of llvm_type(ty)."""
        match operand:
            case Reg(name):
                return self.register_value(name, ty)
            case Not(name):
                return self.emit(f"xor i1 {self.register_value(name, 'pred')}, true")
            case Int(number):
                return self.number(number, ty)
            case Bits(pattern, width):
                return self.float_constant(pattern, width, ty)
            case Special(name):
                return self.cast(special.value(self, name, ty), int_type(ty), llvm_type(ty))
            case Sym(name, offset):
                return self.symbol_value(name, offset, ty)
            case Vec(items):
                return self.packed(items, ty)
        raise UnsupportedError("this kind of operand is not supported here")

    def register_value(self, name: str, ty: str) -> str:
        slot, own = self.slot(name)
        if own == "pred" or ty == "pred":
            if own != ty:
                raise PtxError(f"{name} is {'' if own == 'pred' else 'not '}a predicate")
            return self.emit(f"load i1, ptr {slot}")
        if name in self.scope.pointers:
            pointer = self.emit(f"load ptr, ptr {slot}")
            loaded = self.emit(f"ptrtoint ptr {pointer} to i64")
        else:
            loaded = self.emit(f"load {int_type(own)}, ptr {slot}")
        loaded = self.resize(loaded, bits(own), bits(ty), ty in SIGNED)
        return self.cast(loaded, int_type(ty), llvm_type(ty))

    def number(self, number: int | float, ty: str) -> str:
        if ty == "pred":
            return "true" if number else "false"
        if isinstance(number, float):
            return self.float_constant(struct.unpack("<Q", struct.pack("<d", number))[0], 64, ty)
        masked = number & ((1 << bits(ty)) - 1)
        return self.float_constant(masked, bits(ty), ty) if ty in FLOAT else str(masked)

    def float_constant(self, pattern: int, width: int, ty: str) -> str:
        """A float literal of `width` bits as a value of type `ty`."""
        own = llvm_type(ty)
        if own.startswith("<"):
            return f"bitcast (i{width} {pattern} to {own})"
        if own[0] == "i":
            return str(pattern & ((1 << bits(ty)) - 1))
        if width != bits(ty):  # decimal literals are doubles; 0f in an f64 instruction is widened
            number = struct.unpack("<d" if width == 64 else "<f", pattern.to_bytes(width // 8, "little"))[0]
            code = {"half": "<e", "float": "<f", "double": "<d"}.get(own)
            if code is None:
                raise UnsupportedError(f"a float literal of {width} bits as {ty}")
            pattern = int.from_bytes(struct.pack(code, number), "little")
        return float_text(pattern, own)

    def packed(self, items: list[Operand], ty: str) -> str:
        """{a, b, ...} as one value, the first item lowest."""
        width, part = bits(ty), bits(ty) // len(items)
        total = "0"
        for i, item in enumerate(items):
            wide = self.resize(self.value(item, f"b{part}"), part, width)
            if i:
                wide = self.emit(f"shl i{width} {wide}, {part * i}")
            total = self.emit(f"or i{width} {total}, {wide}")
        return self.cast(total, f"i{width}", llvm_type(ty))

    # -- results

    def store(self, target: Operand, ty: str, value: str) -> None:
        """Assign a result of llvm_type(ty) to a register, a vector of registers or nothing."""
        match target:
            case Sink():
                return
            case Vec(items):
                self.unpack(items, ty, value)
                return
            case Reg(name):
                slot, own = self.slot(name)
            case _:
                raise PtxError("the destination is not a register")
        if own == "pred" or ty == "pred":
            if own != ty:
                raise PtxError(f"{name} is {'' if own == 'pred' else 'not '}a predicate")
            self.do(f"store i1 {value}, ptr {slot}")
            return
        value = self.cast(value, llvm_type(ty), int_type(ty))
        value = self.resize(value, bits(ty), bits(own), ty in SIGNED)
        if name in self.scope.pointers:
            self.store_pointer(target, self.emit(f"inttoptr i64 {value} to ptr"))
        else:
            self.do(f"store {int_type(own)} {value}, ptr {slot}")

    def unpack(self, items: list[Operand], ty: str, value: str) -> None:
        width, part = bits(ty), bits(ty) // len(items)
        value = self.cast(value, llvm_type(ty), f"i{width}")
        for i, item in enumerate(items):
            if not isinstance(item, Sink):
                shifted = self.emit(f"lshr i{width} {value}, {part * i}") if i else value
                self.store(item, f"b{part}", self.resize(shifted, width, part))

    # -- addresses

    def symbol_pointer(self, name: str, offset: int = 0) -> str:
        """The address of a variable as a pointer, whatever space it is in."""
        if name in self.scope.memory:
            return self.field(self.scope.memory[name], offset)
        shared = self.unit.shared_offset(self.scope.function.name, name)
        if shared is not None:
            return self.field("%shared", shared + offset)
        if self.kernel and not self.scope.prefix and name in self.unit.param_offset:
            return self.field("%params", self.unit.param_offset[name] + offset)
        variable = self.unit.module.variables.get(name)
        if variable is not None and variable.space in abi.SPACE:
            return self.field(self.unit.external(variable_symbol(name)), offset)
        entry = self.unit.module.entry(name)
        if entry is not None and not entry.entry:
            if entry.body < 0:
                raise UnsupportedError(f"the address of the external function {name}")
            return self.unit.external(function_symbol(entry.name))
        if entry is not None:
            raise UnsupportedError(
                f"kernels that launch kernels (dynamic parallelism) are not supported (address of {name})"
            )
        raise UnsupportedError(f"the address of {name}")

    def symbol_value(self, name: str, offset: int, ty: str) -> str:
        """A symbol as an operand: its address in its own space (shared: an offset)."""
        if name == "WARP_SZ":
            return self.number(32, ty)
        if ty in FLOAT:
            raise PtxError(f"{name} is an address, not an {ty}")
        shared = self.unit.shared_offset(self.scope.function.name, name)
        if shared is not None and name not in self.scope.memory:
            return str(shared + offset)
        if bits(ty) < 64:
            raise PtxError(f"the address of {name} has 64 bits, not {bits(ty)}")
        return self.emit(f"ptrtoint ptr {self.symbol_pointer(name, offset)} to i64")

    def address(self, mem: Operand, space: str) -> str:
        """A memory operand in a state space, as a pointer."""
        if not isinstance(mem, Mem) or mem.extra:
            raise UnsupportedError("this form of address is not supported")
        base = mem.base
        if isinstance(base, Sym):
            return self.symbol_pointer(base.name, mem.offset)
        if space == "shared":
            wide = isinstance(base, Reg) and bits(self.slot(base.name)[1]) == 64
            if wide:
                at = self.emit(f"getelementptr i8, ptr %shared, i64 {self.value(base, 'u64')}")
                return self.field(at, mem.offset)
            offset = self.resize(self.value(base, "u32"), 32, 64)
            at = self.emit(f"getelementptr nusw nuw i8, ptr %shared, i64 {offset}")  # 32 bits: never wraps
            return self.field(at, mem.offset, "nusw nuw" if mem.offset >= 0 else "nusw")
        if isinstance(base, Int):
            return self.emit(f"inttoptr i64 {self.number(base.value, 'u64')} to ptr")
        return self.field(self.pointer(base), mem.offset)

    # -- the block and the thread

    def block_field(self, name: str, ty: str = "i32", extra: int = 0) -> str:
        """A field of struct rm_block, constant while a block runs."""
        return self.load(
            ty, self.field("%block", abi.BLOCK[name] + extra), 8 if ty in ("i64", "ptr") else 4, True
        )

    def thread_field(self, name: str, ty: str = "i32") -> str:
        """A field of struct rm_thread."""
        return self.load(ty, self.field("%thread", abi.THREAD[name]), 8 if ty == "i64" else 4)

    def set_thread_field(self, name: str, ty: str, value: str) -> None:
        """Write a field of struct rm_thread."""
        self.do(f"store {ty} {value}, ptr {self.field('%thread', abi.THREAD[name])}")

    def suspend(self, state: str) -> None:
        """Give the thread back to the block scheduler."""
        if not self.unit.coroutine:
            raise UnsupportedError("a function whose address is taken can't wait for other threads")
        self.set_thread_field("state", "i32", str(abi.STATE[state]))
        self.declarations["llvm.coro.suspend"] = "i8 @llvm.coro.suspend(token, i1)"
        way = self.emit("call i8 @llvm.coro.suspend(token none, i1 false)")
        resumed = self.new_label("resumed")
        self.do(f"switch i8 {way}, label %suspended [i8 0, label %{resumed} i8 1, label %cleanup]")
        self.lines.append(resumed + ":")


def float_text(pattern: int, ty: str) -> str:
    """A float constant by its bits, in LLVM's notation (f32 is written as the double of its value)."""
    if ty == "double":
        return f"0x{pattern:016X}"
    if ty == "half":
        return f"0xH{pattern:04X}"
    if ty == "bfloat":
        return f"0xR{pattern:04X}"
    if pattern >> 23 & 255 == 255:  # keep a NaN's payload
        return f"0x{(pattern >> 31) << 63 | 0x7FF << 52 | (pattern & 0x7FFFFF) << 29:016X}"
    number = struct.unpack("<f", struct.pack("<I", pattern))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
