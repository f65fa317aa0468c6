"""Which function translates which opcode, and the modifiers it knows. An unknown modifier is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.syntax import Instr
from remora.engine.softgpu.compiler.types import SIZE

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

Handler = Callable[["FunctionEmitter", Instr], None]
HANDLERS: dict[str, tuple[Handler, frozenset[str], frozenset[str] | None]] = {}


def op(names: str, modifiers: str = "", types: str | None = None) -> Callable[[Handler], Handler]:
    """Register a handler for opcodes. `modifiers`: those it knows; `types`: those it takes (None: any)."""

    def register(handler: Handler) -> Handler:
        allowed = None if types is None else frozenset(types.split())
        for name in names.split():
            HANDLERS[name] = (handler, frozenset(modifiers.split()), allowed)
        return handler

    return register


def handler_of(x: Instr) -> Handler:
    """The handler of an instruction, once every part of its name is known."""
    found = HANDLERS.get(x.name)
    if found is None:
        raise UnsupportedError(f"instruction {x.op} is not supported", x.pos)
    handler, modifiers, types = found
    for part in x.parts[1:]:
        if part in modifiers or (part in SIZE and (types is None or part in types)):
            continue
        raise UnsupportedError(f"instruction {x.op} is not supported (.{part})", x.pos)
    return handler
