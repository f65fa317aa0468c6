"""What can be told from a function's shape: loops, which instructions wait for other threads, who may
exit.
"""

from __future__ import annotations

from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.syntax import (
    Function,
    Group,
    Instr,
    Label,
    Mem,
    Not,
    Operand,
    Pair,
    Reg,
    Sym,
    Vec,
)  # fmt: skip

WARP_OPERATIONS = frozenset({"shfl", "vote", "match", "redux", "elect", "ldmatrix", "mma"})
GIVES_WAY = frozenset({"nanosleep", "activemask"})  # better with the others' help, but not wrong without


def check_labels(function: Function) -> None:
    """Branches must find their labels, and labels be unique."""
    seen: set[str] = set()
    for x in function.body:
        if isinstance(x, Label):
            if x.name in seen:
                raise UnsupportedError(f"label {x.name} occurs twice", function.pos)
            seen.add(x.name)
    for jump in function.instructions():
        for target in targets(function, jump):
            if target not in seen:
                raise PtxError(f"no label {target}", jump.pos)


def targets(function: Function, x: Instr) -> list[str]:
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


def spins(function: Function) -> frozenset[int]:
    """Body indices of loads and atomics that may be waiting, in a loop, for another thread's store.

    Volatile and ordered loads, and compare-and-swap or exchange: always. Other atomics, and plain loads
    beside a fence: where a branch in the loop depends on the result, `while (atomicAdd(p, 0) < n)`.
    """
    found: set[int] = set()
    retries: set[int] = set()
    for start, end in sorted(loops(function), key=lambda range_: range_[1] - range_[0]):
        body = function.body[start : end + 1]
        for i, x in enumerate(body, start):
            if not isinstance(x, Instr) or i in found or i in retries:
                continue
            if x.name == "atom" and x.has("cas") and _retries(x, body):
                retries.add(i)
            elif _always_watches(x) or (_may_watch(x, body) and _decides_branch(x, body)):
                found.add(i)
    return frozenset(found)


def _retries(x: Instr, body: list[Instr | Label]) -> bool:
    """A compare-and-swap that tries again with what it found, as in an atomic maximum of floats: it fails
    only where another thread has got on, so that it waits for nobody."""
    if any(isinstance(y, Instr) and y.name == "ld" and not y.has("param", "const", "local") for y in body):
        return False
    return bool(names(x.args[2:3]) & _reached(x, body))


def _always_watches(x: Instr) -> bool:
    if x.name == "ld":
        return x.has("volatile", "acquire", "relaxed", "mmio")
    return x.name == "atom" and x.has("cas", "exch", "acquire", "volatile")


def _may_watch(x: Instr, body: list[Instr | Label]) -> bool:
    """Any atomic; a plain load where the loop has a fence."""
    if x.name == "ld" and not x.has("param", "const", "local"):
        return any(isinstance(y, Instr) and y.name in ("membar", "fence") for y in body)
    return x.name == "atom"


def _decides_branch(x: Instr, body: list[Instr | Label]) -> bool:
    """Whether the result of `x` can reach the predicate of a branch in `body`."""
    reached = _reached(x, body)
    return any(isinstance(y, Instr) and y.name == "bra" and y.pred and y.pred.name in reached for y in body)


def _reached(x: Instr, body: list[Instr | Label]) -> set[str]:
    """The registers that the result of `x` can reach in `body`."""
    reached = names(x.args[:1])
    for _ in range(len(body)):
        before = len(reached)
        for y in body:
            if not isinstance(y, Instr) or not y.args or y.name in ("st", "red", "bra"):
                continue
            if (names(y.args[1:]) | ({y.pred.name} if y.pred else set())) & reached:
                reached |= names(y.args[:1])
        if len(reached) == before:
            break
    return reached


def names(operands: list[Operand]) -> set[str]:
    """The registers in operands, at any depth."""
    found: set[str] = set()
    for operand in operands:
        match operand:
            case Reg(name) | Not(name):
                found.add(name)
            case Vec(items) | Group(items):
                found |= names(items)
            case Pair(first, second):
                found |= names([first, second])
            case Mem(base, _, extra):
                found |= names([base, *extra])
    return found


def waits(x: Instr) -> bool:
    """Whether the thread has to wait for others at this instruction."""
    if x.name in ("bar", "barrier"):
        return not x.has("arrive") or x.has("cluster")
    return x.name in WARP_OPERATIONS


def in_step(x: Instr) -> bool:
    """A volatile access to shared memory. Old programs rely on a warp's threads making them in step."""
    return x.name in ("ld", "st") and x.has("volatile") and x.has("shared", "shared::cta")


def gives_way(x: Instr) -> bool:
    """Whether the thread should let others run at this instruction, if it can."""
    return waits(x) or x.name in GIVES_WAY or in_step(x)


def function_waits(function: Function) -> bool:
    """Whether the function can't do without the others; calls not followed."""
    return any(waits(x) for x in function.instructions())


def function_gives_way(function: Function) -> bool:
    """Whether the function should let others run somewhere; calls not followed."""
    return any(gives_way(x) for x in function.instructions()) or bool(spins(function))


def call_target(x: Instr) -> Operand | None:
    """What a call calls: a symbol, or a register."""
    rest = x.args[1:] if x.args and isinstance(x.args[0], Group) else x.args
    return rest[0] if rest else None


def indirect_calls(function: Function) -> set[tuple[int, int]]:
    """The calls through registers, each by its numbers of results and arguments."""
    found = set()
    for x in function.instructions():
        if x.name == "call" and not isinstance(call_target(x), Sym):
            first = x.args and isinstance(x.args[0], Group)
            sizes = [len(a.items) for a in x.args if isinstance(a, Group)]
            results = sizes.pop(0) if first else 0
            found.add((results, sum(sizes)))
    return found


def has_indirect_call(function: Function) -> bool:
    """A call through a register."""
    return bool(indirect_calls(function))


def exits(function: Function) -> bool:
    """An exit instruction, or a call that could reach one unseen."""
    return any(x.name == "exit" for x in function.instructions()) or has_indirect_call(function)
