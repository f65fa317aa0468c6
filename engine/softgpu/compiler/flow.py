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
    settled: set[int] = set()
    for start, end in sorted(loops(function), key=lambda range_: range_[1] - range_[0]):
        loop = _Loop(function.body[start : end + 1])
        for i, x in loop.watchers(start):
            if i in found or i in settled:
                continue
            if loop.retries(x) or (loop.meets and x.has("shared", "shared::cta")):
                settled.add(i)
            elif _always_watches(x) or loop.decides_branch(x):
                found.add(i)
    return frozenset(found)


class _Loop:
    """What one loop does with what it reads."""

    def __init__(self, body: list[Instr | Label]) -> None:
        self.body = [x for x in body if isinstance(x, Instr)]
        self.places = body
        self.fenced = any(x.name in ("membar", "fence") for x in self.body)
        #: All threads of the block wait for each other in every round: no other wait of theirs is meant.
        self.meets = any(x.name in ("bar", "barrier") and x.pred is None and waits(x) for x in self.body)
        #: What each instruction reads, and what it writes from that.
        self.flows = [
            (names(x.args[1:]) | ({x.pred.name} if x.pred else set()), names(x.args[:1]))
            for x in self.body if x.name not in ("st", "red", "bra")
        ]  # fmt: skip
        self._deciding: set[str] | None = None

    def watchers(self, start: int) -> list[tuple[int, Instr]]:
        """The instructions that may be waiting for another thread's store."""
        return [
            (i, x) for i, x in enumerate(self.places, start)
            if isinstance(x, Instr) and (_always_watches(x) or _may_watch(x, self.fenced))
        ]  # fmt: skip

    def retries(self, x: Instr) -> bool:
        """A compare-and-swap that tries again with what it found, as in an atomic maximum of floats: it
        fails only where another thread has got on, so that it waits for nobody."""
        loads = any(y.name == "ld" and not y.has("param", "const", "local") for y in self.body)
        if loads or not x.has("cas"):
            return False
        return bool(names(x.args[2:3]) & _closure(names(x.args[:1]), self.flows))

    def decides_branch(self, x: Instr) -> bool:
        """Whether the result of `x` can reach the predicate of a branch in the loop."""
        if self._deciding is None:
            predicates = {x.pred.name for x in self.body if x.name == "bra" and x.pred}
            self._deciding = _closure(predicates, [(written, used) for used, written in self.flows])
        return bool(names(x.args[:1]) & self._deciding)


def _closure(registers: set[str], flows: list[tuple[set[str], set[str]]]) -> set[str]:
    """The registers, and those that can be reached from them along the flows."""
    before = -1
    while before != len(registers):
        before = len(registers)
        for source, target in flows:
            if source & registers:
                registers |= target
    return registers


def _always_watches(x: Instr) -> bool:
    if x.name == "ld":
        return x.has("volatile", "acquire", "relaxed", "mmio")
    return x.name == "atom" and x.has("cas", "exch", "acquire", "volatile")


def _may_watch(x: Instr, fenced: bool) -> bool:
    """Any atomic; a plain load where the loop has a fence."""
    if x.name == "ld":
        return fenced and not x.has("param", "const", "local")
    return x.name == "atom"


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


def _volatile_shared(x: Instr) -> bool:
    volatile = x.name in ("ld", "st") and x.has("volatile") and x.has("shared", "shared::cta")
    return volatile and len(x.args) == 2


def in_step(function: Function) -> frozenset[int]:
    """Body indices of volatile accesses to shared memory that a warp's threads have to make in step.

    Old programs rely on it: `s[t] += s[t + 16]; s[t] += s[t + 8];`. It matters where a store and a load of
    another place come after each other with no barrier between them.
    """
    accesses = [i for i, x in enumerate(function.body) if isinstance(x, Instr) and _volatile_shared(x)]
    if not any(isinstance(x := function.body[i], Instr) and x.name == "st" for i in accesses):
        return frozenset()
    return frozenset(accesses) if _crossing(function) else frozenset()


def _crossing(function: Function) -> bool:
    """Whether a volatile store to shared memory and a load of another place meet without a barrier."""
    place = {x.name: i for i, x in enumerate(function.body) if isinstance(x, Label)}
    several = _written_twice(function)
    pending: list[frozenset[tuple[str, str]]] = [frozenset()] * (len(function.body) + 1)
    todo = [0]
    seen: set[int] = set()
    while todo:
        i = todo.pop()
        if i >= len(function.body):
            continue
        x, now = function.body[i], pending[i]
        onward = [i + 1]
        if isinstance(x, Instr):
            if x.name in ("bar", "barrier") and waits(x) and x.pred is None:
                now = frozenset()
            elif _volatile_shared(x):
                address = x.args[0 if x.name == "st" else 1]
                where = "" if names([address]) & several else repr(address)
                other = "ld" if x.name == "st" else "st"
                if any(kind == other and (not where or where != w) for kind, w in now):
                    return True
                if x.name == "st":  # a thread that reads the place it wrote last needs nobody
                    now = frozenset(a for a in now if a[0] == "ld")
                now = now | {(x.name, where)}
            if x.name in ("ret", "exit", "trap") and x.pred is None:
                onward = []
            elif jumps := targets(function, x):
                onward = [place[t] for t in jumps if t in place] + ([i + 1] if x.pred else [])
        for k in onward:
            if k not in seen or not now <= pending[k]:
                seen.add(k)
                pending[k] |= now
                todo.append(k)
    return False


def _written_twice(function: Function) -> set[str]:
    once: set[str] = set()
    twice: set[str] = set()
    for x in function.instructions():
        written = names(x.args[:1]) if x.name not in ("st", "red", "bra", "bar", "barrier") else set()
        twice |= once & written
        once |= written
    return twice


def gives_way(x: Instr) -> bool:
    """Whether the thread should let others run at this instruction, if it can."""
    return waits(x) or x.name in GIVES_WAY


def function_waits(function: Function) -> bool:
    """Whether the function can't do without the others; calls not followed."""
    return any(waits(x) for x in function.instructions())


def function_gives_way(function: Function) -> bool:
    """Whether the function should let others run somewhere; calls not followed."""
    if any(gives_way(x) for x in function.instructions()) or spins(function):
        return True
    return bool(in_step(function))


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
