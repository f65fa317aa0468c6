"""Loops that the threads of a block can run in step, round by round, in kernels that never wait. Knows
blocks and registers, not LLVM.

`for (i = start; i < n; i += blockDim.x * gridDim.x)`: a thread that runs its loop to the end touches one
element of each cache line, and the next thread comes back for the next one. In step, all threads of the
block run one round, then the next. A kernel is cut at the headers of such loops and behind them; every
thread keeps the number of the cut where it waits, and each cut has a region, from it to the next cuts.

A loop suits if it has no loop within or around it, touches memory, and is left only where a register that
each round adds the same to is compared with something that is the same in all threads: then no thread
takes many more rounds than another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from remora.engine.softgpu.compiler import flow
from remora.engine.softgpu.compiler.cfg import Graph, defs, is_barrier, uses
from remora.engine.softgpu.compiler.describe import max_threads
from remora.engine.softgpu.compiler.regions import MAX_BLOCKS, MAX_KEPT_BYTES, Plan, Region, keeps_to_itself
from remora.engine.softgpu.compiler.syntax import Function, Instr, Int, Operand, Reg, Special
from remora.engine.softgpu.compiler.types import SIZE
from remora.engine.softgpu.compiler.uniform import COORDINATES, Uniformity

MAX_CUTS = 16
MAX_ADDITIONS = 16  # to a counter in one round


@dataclass(slots=True)
class Loop:
    """A natural loop: its blocks, its header, the one block behind it; what each round adds, by register;
    and the register that decides about the end, what is added to it, and what it is compared with."""

    head: int
    blocks: set[int]
    behind: int
    steps: dict[str, Operand] = field(default_factory=dict)
    counter: str = ""
    step: Operand = field(default_factory=lambda: Int(0))
    bound: Operand = field(default_factory=lambda: Int(0))


@dataclass(slots=True)
class Rounds(Plan):
    """A kernel cut into regions: `order` is the one to run them in, `loops` are those that repeat."""

    order: list[int]
    loops: dict[int, Loop]

    def number(self, head: int) -> int:
        """What a thread that waits at this cut keeps."""
        return self.order.index(head)

    def steps(self, head: int) -> dict[str, Operand]:
        """The registers that a loop's rounds count on, with what each round adds."""
        return self.loops[head].steps if head in self.loops else {}

    def kept(self) -> set[str]:
        """Registers whose values each thread keeps from region to region."""
        return {
            name for head in self.order[1:] for name in self.graph.live[head]
            if not self.same.is_uniform(name) and name not in self.same.recomputable
            and name not in self.steps(head)
        }  # fmt: skip

    def start(self, head: int, name: str) -> Instr:
        """The instruction that gives a register that a loop counts on its first value."""
        return next(x for x in _starts(self, self.loops[head], name) if _can_be_had(self, x))

    def starts(self, head: int, names: list[str]) -> list[Instr]:
        """The instructions that compute the first values of registers that a loop counts on."""
        own = [self.start(head, n) for n in names]
        return [*self.same.chain(*(u for x in own for u in sorted(uses(x)))), *own]

    def alike(self, operand: Operand) -> bool:
        """Whether an operand has the same value in all threads."""
        if isinstance(operand, Int):
            return True
        if not isinstance(operand, Reg):
            return False
        chain = self.same.chain(operand.name)
        own = any(isinstance(a, Special) and a.name in COORDINATES for x in chain for a in x.args[1:])
        return self.same.is_uniform(operand.name) or (bool(chain) and not own)


def plan(function: Function) -> Rounds | None:
    """The kernel in rounds; None where it has no loop that suits."""
    if not flow.loops(function):
        return None
    flow.check_labels(function)
    try:
        return _plan(function)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):  # malformed: others will say how
        return None


def _plan(function: Function) -> Rounds | None:
    if not keeps_to_itself(function) or any(map(is_barrier, function.instructions())):
        return None
    graph = Graph(function)
    if graph.end > MAX_BLOCKS or any(not names <= function.regs.keys() for names in graph.live):
        return None
    loops = {x.head: x for x in _natural_loops(graph) if _touches_memory(graph, x)}
    start = _straight(graph)
    same = Uniformity(graph, apart=set(range(graph.end)) - set(start))
    found = Rounds(graph, same, {}, [], loops)
    for head in list(loops):
        loops[head].steps = _steps(found, loops[head])
        if not _left_together(found, loops[head]):
            del loops[head]
    _cut(found, start)
    kept = (1 + sum(SIZE[function.regs[name]] for name in found.kept())) * max_threads(function)
    suits = loops and len(found.order) <= MAX_CUTS and kept <= MAX_KEPT_BYTES and found.order[0] == 0
    return found if suits else None


# -- loops


def _natural_loops(graph: Graph) -> list[Loop]:
    """The loops without others in or around them that end in one place."""
    dominators = _dominators(graph)
    bodies: dict[int, set[int]] = {}
    for k, block in enumerate(graph.blocks):
        for head in block.succ:
            if head != graph.end and dominators[k] >> head & 1:
                bodies.setdefault(head, {head}).update(_body(graph, head, k))
    found = []
    for head, blocks in bodies.items():
        behind = {s for k in blocks for s in graph.blocks[k].succ} - blocks
        alone = all(h == head or not (blocks & b) for h, b in bodies.items())
        if alone and len(behind) == 1 and head != 0 and _once_through(graph, head, blocks):
            found.append(Loop(head, blocks, behind.pop()))
    return found


def _once_through(graph: Graph, head: int, blocks: set[int]) -> bool:
    """Whether no block of a loop can be run twice in one round."""
    left = set(blocks)
    while left:
        last = {k for k in left if not any(s in left and s != head for s in graph.blocks[k].succ)}
        if not last:
            return False
        left -= last
    return True


def _dominators(graph: Graph) -> list[int]:
    """For each block the blocks that every way to it passes, as bits."""
    full = (1 << graph.end) - 1
    before = [1] + [full] * (graph.end - 1)
    changed = True
    while changed:
        changed = False
        for k in range(1, graph.end):
            common = full
            for p in graph.pred[k]:
                common &= before[p]
            common |= 1 << k
            changed |= common != before[k]
            before[k] = common
    return before


def _body(graph: Graph, head: int, last: int) -> set[int]:
    found, todo = {head}, [last]
    while todo:
        k = todo.pop()
        if k not in found:
            found.add(k)
            todo += graph.pred[k]
    return found


def _touches_memory(graph: Graph, loop: Loop) -> bool:
    elsewhere = ("param", "const", "local", "shared", "shared::cta")
    return any(
        x.name in ("ld", "st", "red", "atom") and not x.has(*elsewhere)
        for k in loop.blocks for x in graph.blocks[k].code
    )  # fmt: skip


def _steps(rounds: Rounds, loop: Loop) -> dict[str, Operand]:
    """Registers with a start that can be computed again, and one addition in every round."""
    graph, same = rounds.graph, rounds.same
    found: dict[str, Operand] = {}
    for name in graph.live[loop.head]:
        writers = same.writers.get(name, [])
        inside = [(k, x) for k, x in writers if k in loop.blocks]
        starts = _starts(rounds, loop, name)
        if len(inside) != 1 or len(starts) != 1 or name in graph.live[0]:
            continue
        (k, step), start = inside[0], starts[0]
        if (
            _can_be_had(rounds, start)
            and _every_round(graph, loop, k)
            and same.adds_to(name, step)
            and rounds.alike(step.args[2])
        ):
            found[name] = step.args[2]
    return found


def _starts(rounds: Rounds, loop: Loop, name: str) -> list[Instr]:
    """What a register may have been given before a loop."""
    return [x for k, x in rounds.same.writers.get(name, []) if k not in loop.blocks]


def _can_be_had(rounds: Rounds, start: Instr) -> bool:
    """Whether an instruction's result can be computed again later."""
    same = rounds.same
    return same.is_start(start) and all(same.lasts(u, start) for u in uses(start))


def _drift(rounds: Rounds, loop: Loop, name: str) -> Operand | None:
    """What a round adds to a register, in one addition or several: one of them. It is kept, not computed
    again, since it may start from several places: nvcc unrolls a loop and runs the odd rounds before it."""
    writers = rounds.same.writers
    if not any(_can_be_had(rounds, x) for x in _starts(rounds, loop, name)):
        return None
    found: Operand | None = None
    at = name
    for _ in range(MAX_ADDITIONS):
        inside = [(k, x) for k, x in writers.get(at, []) if k in loop.blocks]
        if (
            len(inside) != 1
            or inside[0][1].name != "add"
            or not _every_round(rounds.graph, loop, inside[0][0])
        ):
            return None
        source, found = inside[0][1].args[1:]
        if not isinstance(source, Reg) or not rounds.alike(found):
            return None
        at = source.name
        if at == name:
            return found
    return None


def _every_round(graph: Graph, loop: Loop, k: int) -> bool:
    """Whether every way from the loop's header back to it passes block k."""
    seen: set[int] = set()
    todo = [loop.head]
    while todo:
        b = todo.pop()
        if b == k:
            continue
        for s in graph.blocks[b].succ:
            if s == loop.head:
                return False
            if s in loop.blocks and s not in seen:
                seen.add(s)
                todo.append(s)
    return True


def _left_together(rounds: Rounds, loop: Loop) -> bool:
    """Whether the loop's one exit compares a register that its rounds count on with a common value."""
    leaving = [k for k in loop.blocks if loop.behind in rounds.graph.blocks[k].succ]
    jump = rounds.graph.blocks[leaving[0]].jump if len(leaving) == 1 else None
    if jump is None or jump.name != "bra" or jump.pred is None:
        return False
    tests = [x for k in loop.blocks for x in rounds.graph.blocks[k].code if jump.pred.name in defs(x)]
    if len(tests) != 1 or tests[0].name != "setp" or len(tests[0].args) != 3:
        return False
    operands = tests[0].args[1:]
    for counter, bound in (operands, operands[::-1]):
        if not isinstance(counter, Reg) or not rounds.alike(bound):
            continue
        step = loop.steps.get(counter.name) or _drift(rounds, loop, counter.name)
        if step is not None:
            loop.counter, loop.step, loop.bound = counter.name, step, bound
            return True
    return False


# -- cuts


def _straight(graph: Graph) -> list[int]:
    """The blocks that all threads run, one after the other, when the kernel starts."""
    chain = [0] if not graph.pred[0] else []
    while chain and len(graph.blocks[chain[-1]].succ) == 1:
        k = graph.blocks[chain[-1]].succ[0]
        if k == graph.end or len(graph.pred[k]) != 1:
            break
        chain.append(k)
    return chain


def _cut(rounds: Rounds, start: list[int]) -> None:
    """Regions from cut to cut, and their order."""
    graph = rounds.graph
    cuts = {0, *rounds.loops} | {x.behind for x in rounds.loops.values()} - {graph.end}
    for head in cuts:
        region = Region(head, start if head == 0 else [], {head})
        todo = list(graph.blocks[head].succ)
        while todo:
            k = todo.pop()
            if k in cuts or k == graph.end:
                region.onward += [k] if k not in region.onward else []
            elif k not in region.blocks:
                region.blocks.add(k)
                todo += graph.blocks[k].succ
        rounds.regions[head] = region
    _sort(rounds)


def _sort(rounds: Rounds) -> None:
    """Cuts after those that lead to them; `order` stays empty where that can't be."""
    left = dict.fromkeys(sorted(rounds.regions))
    order: list[int] = []
    while left:
        ready = [
            h for h in left
            if not any(h in rounds.regions[o].onward for o in left if o != h)
        ]  # fmt: skip
        again = [h for h in ready if h in rounds.regions[h].onward and h not in rounds.loops]
        if not ready or again:
            rounds.order[:] = [-1]
            return
        order.append(ready[0])
        del left[ready[0]]
    rounds.order[:] = order
