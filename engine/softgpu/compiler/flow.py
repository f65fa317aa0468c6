"""What can be told from a function's shape: loops, which instructions wait for other threads, who may
exit.
"""

from __future__ import annotations

from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.syntax import Function, Instr, Label, Sym

WARP_OPERATIONS = frozenset({"shfl", "vote", "match", "redux", "elect", "nanosleep", "ldmatrix", "mma"})


def check_labels(function: Function) -> None:
    """Branches must find their labels, and labels be unique."""
    seen: set[str] = set()
    for x in function.body:
        if isinstance(x, Label):
            if x.name in seen:
                raise UnsupportedError(f"label {x.name} occurs twice", function.pos)
            seen.add(x.name)
    for jump in function.instructions():
        for target in _targets(function, jump):
            if target not in seen:
                raise PtxError(f"no label {target}", jump.pos)


def _targets(function: Function, x: Instr) -> list[str]:
    """The labels that a branch names."""
    last = x.args[-1] if x.args else None
    if not isinstance(last, Sym) or x.name not in ("bra", "brx"):
        return []
    return [last.name] if x.name == "bra" else function.tables.get(last.name, [])


def loops(function: Function) -> list[tuple[int, int]]:
    """Body ranges between a backward branch and its target: a cheap over-approximation of the loops."""
    place = {x.name: i for i, x in enumerate(function.body) if isinstance(x, Label)}
    found = []
    for i, x in enumerate(function.body):
        if isinstance(x, Instr) and x.name == "bra" and x.args and isinstance(x.args[0], Sym):
            target = place.get(x.args[0].name, i)
            if target < i:
                found.append((target, i))
    return found


def may_spin(x: Instr, index: int, ranges: list[tuple[int, int]]) -> bool:
    """A load or atomic in a loop that may be waiting for another thread's store."""
    watches = (
        (x.name == "ld" and x.has("volatile", "acquire", "relaxed"))
        or (x.name == "atom" and x.has("cas", "exch", "acquire", "volatile"))
    )  # fmt: skip
    return watches and any(a <= index <= b for a, b in ranges)


def waits(x: Instr, index: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether the thread has to give way at this instruction."""
    if x.name in ("bar", "barrier"):
        return not x.has("arrive") or x.has("cluster")
    return x.name in WARP_OPERATIONS or may_spin(x, index, ranges)


def function_waits(function: Function) -> bool:
    """Whether any instruction of the function waits; calls not followed."""
    ranges = loops(function)
    return any(isinstance(x, Instr) and waits(x, i, ranges) for i, x in enumerate(function.body))


def has_indirect_call(function: Function) -> bool:
    """A call through a register."""
    return any(
        x.name == "call" and not any(isinstance(a, Sym) for a in x.args[:2]) for x in function.instructions()
    )


def exits(function: Function) -> bool:
    """An exit instruction, or a call that could reach one unseen."""
    return any(x.name == "exit" for x in function.instructions()) or has_indirect_call(function)
