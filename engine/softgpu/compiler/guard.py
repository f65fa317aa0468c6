"""The guard at the start of so many kernels: `if (i < n)`, where threads that fail it do nothing more.

Where `i` grows by one from each thread of a row to the next, the threads that pass are a range, and only
they need to run: without a mask, and without the loop over threads having to allow for addresses that only
the others would have had. Knows blocks and registers, not LLVM.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from remora.engine.softgpu.compiler.cfg import Block, Graph, defs, is_barrier, uses
from remora.engine.softgpu.compiler.syntax import Function, Instr, Int, Not, Operand, Reg, Special
from remora.engine.softgpu.compiler.types import SIZE
from remora.engine.softgpu.compiler.uniform import PURE, Uniformity

OPPOSITE = {
    "lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "lo": "hs", "hs": "lo", "hi": "ls", "ls": "hi",
    "ne": "eq",
}  # fmt: skip
MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "lo": "hi", "hi": "lo", "ls": "hs", "hs": "ls"}
MAX_BLOCKS = 400  # the analysis takes time with the square of their number
WHOLE = frozenset({"s32", "u32", "b32", "s64", "u64", "b64"})


@dataclass(slots=True)
class Term:
    """`counter order bound` holds in the threads that pass; the comparison then yields `holds`."""

    instruction: Instr
    counter: Operand
    order: str  # lt le gt ge eq
    bound: Operand
    kind: str  # their type
    wraps: bool  # the counter may, from one thread to the next
    holds: bool


@dataclass(slots=True)
class Guard:
    """`before`: what computes the terms' operands."""

    before: list[Instr]
    terms: list[Term]


def find(graph: Graph, same: Uniformity, head: int, blocks: Collection[int], last: int) -> Guard | None:
    """The guard at the end of block `head`; threads that fail it go on to the end of block `last`, or leave
    `blocks`, without anything that could be noticed."""
    block = graph.blocks[head]
    jump = block.jump
    if jump is None or jump.name != "bra" or jump.pred is None or len(block.succ) != 2 or head == last:
        return None
    before = [x for x in block.code if x is not jump]
    if not all(_unnoticed(same, x) for x in before):
        return None
    for way in (0, 1):
        if _leads_out(graph, same, block.succ[way], blocks, last):
            terms = list(_Terms(same, block).of(jump.pred, way == 0))
            return Guard(before, terms) if terms else None
    return None


def at_start(function: Function) -> Guard | None:
    """The guard that a whole kernel starts with."""
    try:
        graph = Graph(function)
        if graph.end > MAX_BLOCKS:
            return None
        return find(graph, Uniformity(graph), 0, range(graph.end), -1)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):  # malformed: others will say how
        return None


def _unnoticed(same: Uniformity, x: Instr) -> bool:
    return x.name in PURE or (x.name == "ld" and same.reads_constant(x))


def _leads_out(graph: Graph, same: Uniformity, k: int, blocks: Collection[int], last: int) -> bool:
    seen: set[int] = set()
    while k in blocks:
        block = graph.blocks[k]
        work = [x for x in block.code if x is not block.jump and not is_barrier(x)]
        if k in seen or not all(_unnoticed(same, x) for x in work):
            return False
        if k == last:
            return True
        if len(block.succ) != 1:
            return False
        seen.add(k)
        k = block.succ[0]
    return True


class _Terms:
    """The comparisons that a block's branch depends on."""

    def __init__(self, same: Uniformity, block: Block) -> None:
        self.same = same
        self.block = block
        self.registers = same.graph.function.regs

    def of(self, predicate: Operand, fails: bool) -> Iterator[Term]:
        """Terms that hold in every thread where `predicate` isn't `fails`."""
        if isinstance(predicate, Not):
            fails = not fails
        elif not isinstance(predicate, Reg):
            return
        x = self.writer(predicate.name)
        if x is None or x.pred is not None:
            return
        if x.name == "setp":
            term = self.term(x, not fails)
            if term is not None:
                yield term
        elif x.name == ("or" if fails else "and") and x.parts[1:] == ["pred"]:
            for part in x.args[1:]:
                yield from self.of(part, fails)

    def writer(self, name: str) -> Instr | None:
        """The only instruction that writes a register, if it is in the block."""
        writers = self.same.writers.get(name, ())
        once = len(writers) == 1 and any(x is writers[0][1] for x in self.block.code)
        return writers[0][1] if writers and once and name not in self.same.graph.live[0] else None

    def term(self, x: Instr, holds: bool) -> Term | None:
        if len(x.parts) != 3 or x.parts[2] not in WHOLE or len(x.args) != 3 or not isinstance(x.args[0], Reg):
            return None
        order, kind = x.parts[1], x.parts[2]
        order = order if holds else OPPOSITE.get(order, "")
        a, b = x.args[1:]
        if self.growth(b, kind) == 1 and self.growth(a, kind) == 0:
            a, b, order = b, a, MIRRORED.get(order, order)
        if self.growth(a, kind) != 1 or self.growth(b, kind) != 0 or self.changes_after(x, b):
            return None
        if order in ("lo", "ls", "hi", "hs"):
            order, kind = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}[order], "u" + kind[1:]
        wraps = not self.is_coordinate(a)
        return Term(x, a, order, b, kind, wraps, holds) if order in ("lt", "le", "gt", "ge", "eq") else None

    def changes_after(self, x: Instr, operand: Operand) -> bool:
        """Whether an operand of `x` is written again in the rest of the block."""
        place = next(i for i, y in enumerate(self.block.code) if y is x)
        return any(isinstance(operand, Reg) and operand.name in defs(y) for y in self.block.code[place:])

    def growth(self, operand: Operand, kind: str) -> int | None:
        """How much more an operand is in the next thread of a row, at the width of `kind`."""
        match operand:
            case Int(number):
                return 0 if isinstance(number, int) else None
            case Special("%tid.x"):
                return 1 if SIZE[kind] == 4 else None
            case Special(name):
                return 0 if name.startswith(("%tid.", "%ntid.", "%ctaid.", "%nctaid.")) else None
            case Reg(name):
                return self.register_growth(name, kind)
        return None

    def is_coordinate(self, operand: Operand) -> bool:
        """Whether an operand is %tid.x itself."""
        x = self.same.recomputable.get(operand.name) if isinstance(operand, Reg) else None
        return operand == Special("%tid.x") or (x is not None and x.args[1:] == [Special("%tid.x")])

    def register_growth(self, name: str, kind: str) -> int | None:
        if self.same.is_uniform(name):
            return 0
        x = self.same.recomputable.get(name)
        if x is None:
            return None
        if all(self.growth(a, "b32") == 0 or self.growth(a, "b64") == 0 for a in x.args[1:]):
            return 0
        as_wide = all(SIZE[self.registers[n]] == SIZE[kind] for n in uses(x) | {name})
        return self.sum(x) if as_wide else None

    def sum(self, x: Instr) -> int | None:
        """The growth of a sum of operands; it wraps like the operands do."""
        kind = x.parts[-1]
        parts = [self.growth(a, kind) if kind in WHOLE else None for a in x.args[1:]]
        known = [p for p in parts if p is not None]
        if len(known) != len(parts):
            return None
        if x.parts[:-1] == ["mov"]:
            return known[0]
        if x.parts[:-1] in (["add"], ["sub"]):
            return known[0] + known[1] * (1 if x.name == "add" else -1)
        if x.parts[:-1] == ["mad", "lo"] and known[:2] == [0, 0]:
            return known[2]
        return None
