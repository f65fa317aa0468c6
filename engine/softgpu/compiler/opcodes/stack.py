"""alloca, stacksave and stackrestore. A function that asks for memory of a size known only when it runs has
a buffer of STACK_BYTES, handed out from its start; LLVM's own kind is not for coroutines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Function, Instr, Int

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

STACK_BYTES = 32 << 10
MAX_ALIGNMENT = 64  # of a coroutine's frame
NAMES = frozenset({"alloca", "stacksave", "stackrestore"})


def prepare(f: FunctionEmitter, function: Function) -> tuple[str, str] | None:
    """The buffer of a function that needs one, and how much of it is taken; emitted where it is entered."""
    if not any(x.name == "alloca" for x in function.instructions()):
        return None
    buffer, taken = f.alloca(f"[{STACK_BYTES} x i8]", MAX_ALIGNMENT), f.alloca("i64")
    f.do(f"store i64 0, ptr {taken}")
    return buffer, taken


@op("alloca", "", "u32 u64")
def alloca(f: FunctionEmitter, x: Instr) -> None:
    """alloca d, bytes [, alignment]: the launch fails where the buffer is too small."""
    assert f.scope.stack
    buffer, taken = f.scope.stack
    alignment = int(x.args[2].value) if len(x.args) > 2 and isinstance(x.args[2], Int) else 8
    if alignment & (alignment - 1) or not 0 < alignment <= MAX_ALIGNMENT:
        raise ValueError(alignment)
    used = f.load("i64", taken, 8)
    start = f.emit(f"and i64 {f.emit(f'add i64 {used}, {alignment - 1}')}, {-alignment}")
    size = f.resize(f.value(x.args[1], x.types()[0]), 64 if x.has("u64") else 32, 64)
    left = f.emit(f"sub i64 {STACK_BYTES}, {start}")
    full, fits = f.new_label("full"), f.new_label("fits")
    f.branch_if(f.emit(f"icmp ugt i64 {size}, {left}"), full, fits)
    f.place_after(full)
    f.call("rm_trap", "void", ("ptr", "%block"))
    f.stop()
    f.place_after(fits)
    f.do(f"store i64 {f.emit(f'add i64 {start}, {size}')}, ptr {taken}")
    place = f.emit(f"getelementptr i8, ptr {buffer}, i64 {start}")
    f.store(x.args[0], "u64", f.emit(f"ptrtoint ptr {place} to i64"))


@op("stacksave", "", "u32 u64")
def stacksave(f: FunctionEmitter, x: Instr) -> None:
    """stacksave d"""
    f.store(x.args[0], "u64", f.load("i64", f.scope.stack[1], 8) if f.scope.stack else "0")


@op("stackrestore", "", "u32 u64")
def stackrestore(f: FunctionEmitter, x: Instr) -> None:
    """stackrestore a: what was handed out since that stacksave is free again."""
    if f.scope.stack:
        f.do(f"store i64 {f.value(x.args[0], 'u64')}, ptr {f.scope.stack[1]}")
