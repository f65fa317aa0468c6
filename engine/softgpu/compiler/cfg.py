"""A function's basic blocks: successors, post-dominators, live registers. Knows PTX's control flow, not LLVM.

Blocks also end after a barrier, so that what lies between two barriers is made of whole blocks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from remora.engine.softgpu.compiler import flow
from remora.engine.softgpu.compiler.syntax import Function, Group, Instr, Label, Pair, Reg, Vec

ENDS = frozenset({"bra", "brx", "ret", "exit"})
NO_RESULT = frozenset({"st", "red", "bra", "bar", "barrier", "cp", "brx", "ret", "exit", "trap", "brkpt"})


def is_barrier(x: Instr) -> bool:
    """bar or barrier in any form."""
    return x.name in ("bar", "barrier")


def defs(x: Instr) -> set[str]:
    """The registers that an instruction writes."""
    if not x.args or x.name in NO_RESULT:
        return set()
    first = x.args[0]
    if x.name == "call":
        return flow.names([first]) if isinstance(first, Group) else set()
    return flow.names([first]) if isinstance(first, Reg | Vec | Pair) else set()


def uses(x: Instr) -> set[str]:
    """The registers that an instruction may read. A predicated one keeps the old value of its result."""
    written = defs(x)
    found = flow.names(x.args[1:] if written else x.args)
    return found | ({x.pred.name} | written if x.pred else set())


@dataclass(slots=True)
class Block:
    """body[start:end]; `succ` names blocks, the number of blocks standing for the thread's end."""

    start: int
    end: int
    code: list[Instr]
    succ: list[int] = field(default_factory=list)

    @property
    def last(self) -> Instr | None:
        """The last instruction."""
        return self.code[-1] if self.code else None

    @property
    def jump(self) -> Instr | None:
        """The branch or return that ends the block."""
        return self.last if self.last is not None and self.last.name in ENDS else None


class Graph:
    """The blocks of a function in the order of its text."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.blocks = _blocks(function)
        self.end = len(self.blocks)
        self.of_label = {
            x.name: k for k, b in enumerate(self.blocks) for x in function.body[b.start : b.end]
            if isinstance(x, Label)
        }  # fmt: skip
        for k, block in enumerate(self.blocks):
            block.succ = self._successors(k, block)
        self.pred: list[set[int]] = [set() for _ in range(self.end + 1)]
        for k, block in enumerate(self.blocks):
            for s in block.succ:
                self.pred[s].add(k)
        self.join = self._joins()
        self.live = self._live()

    def _successors(self, k: int, block: Block) -> list[int]:
        last = block.last
        if last is None or (last.name not in ENDS and last.name not in ("trap", "brkpt")):
            return [k + 1]
        onward = [k + 1] if last.pred else []
        match last.name:
            case "bra" | "brx":
                return [self.of_label[t] for t in flow.targets(self.function, last)] + onward
            case "ret" | "exit":
                return [self.end, *onward]
        return onward  # a trap has no successor

    def _joins(self) -> list[int]:
        """Each block's immediate post-dominator: where threads that part there are together again."""
        full = (1 << self.end + 1) - 1
        after = [full] * self.end + [1 << self.end]
        changed = True
        while changed:
            changed = False
            for k in range(self.end - 1, -1, -1):
                common = full
                for s in self.blocks[k].succ:
                    common &= after[s]
                common |= 1 << k
                changed |= common != after[k]
                after[k] = common
        joins = []
        for k in range(self.end):
            beyond = after[k] & ~(1 << k)
            joins.append(next((t for t in range(self.end) if after[t] == beyond), self.end))
        return joins

    def _live(self) -> list[set[str]]:
        """The registers whose value is still wanted, at each block's start."""
        used: list[set[str]] = []
        written: list[set[str]] = []
        for block in self.blocks:
            u: set[str] = set()
            w: set[str] = set()
            for x in block.code:
                u |= uses(x) - w
                w |= set() if x.pred else defs(x)
            used.append(u)
            written.append(w)
        live: list[set[str]] = [set() for _ in range(self.end + 1)]
        changed = True
        while changed:
            changed = False
            for k in range(self.end - 1, -1, -1):
                later = set().union(*(live[s] for s in self.blocks[k].succ))
                now = used[k] | (later - written[k])
                changed |= now != live[k]
                live[k] = now
        return live

    def between(self, k: int) -> set[int]:
        """The blocks that a thread may run between the branch at the end of block k and the join after it."""
        seen: set[int] = set()
        todo = list(self.blocks[k].succ)
        while todo:
            b = todo.pop()
            if b not in seen and b not in (self.join[k], self.end):
                seen.add(b)
                todo += self.blocks[b].succ
        return seen


def _blocks(function: Function) -> list[Block]:
    cuts = {0, len(function.body)}
    for i, x in enumerate(function.body):
        if isinstance(x, Label):
            cuts.add(i)
        elif x.name in ENDS or is_barrier(x) or (x.name in ("trap", "brkpt") and x.pred is None):
            cuts.add(i + 1)
    order = sorted(cuts)
    return [
        Block(a, b, [x for x in function.body[a:b] if isinstance(x, Instr)])
        for a, b in itertools.pairwise(order)
    ]
