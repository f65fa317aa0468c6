"""Splits a kernel whose threads meet at every barrier into regions, each to be run for all threads of the
block in turn. Knows blocks and registers, not LLVM.

It applies where all threads of a block take the same way from barrier to barrier: branches whose threads
part join again before the next barrier. Blocks that all threads run together form a skeleton, run once
for the block; a region is a chain of skeleton blocks, with everything between the branches where threads
part and their joins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from remora.engine.softgpu.compiler import flow
from remora.engine.softgpu.compiler.cfg import Graph, defs, is_barrier, uses
from remora.engine.softgpu.compiler.describe import max_threads
from remora.engine.softgpu.compiler.opcodes import stack
from remora.engine.softgpu.compiler.syntax import Function, Instr, Int, Sym
from remora.engine.softgpu.compiler.types import SIZE
from remora.engine.softgpu.compiler.uniform import Uniformity

MAX_BLOCKS = 400  # the analysis takes time with the square of their number
MAX_REGIONS = 64
MAX_KEPT_BYTES = 256 << 10  # of the stack; kernels may run on the program's own threads
CARRY = frozenset({"addc", "subc", "madc"})


@dataclass(slots=True)
class Region:
    """`spine`: its skeleton blocks in order; `blocks`: all of them; `onward`: the regions that can follow."""

    head: int
    spine: list[int] = field(default_factory=list)
    blocks: set[int] = field(default_factory=set)
    onward: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """A kernel in regions, by the block that each starts with."""

    graph: Graph
    same: Uniformity
    regions: dict[int, Region]

    def kept(self) -> set[str]:
        """Registers whose values each thread keeps from region to region."""
        same = self.same
        return {
            name for head in self.regions for name in self.graph.live[head]
            if not same.is_uniform(name) and name not in same.recomputable and name not in same.inductions
        }  # fmt: skip

    def read(self, region: Region) -> set[str]:
        """The registers that a region may read."""
        return {name for k in region.blocks for x in self.graph.blocks[k].code for name in uses(x)}

    def written(self, region: Region) -> set[str]:
        """The registers that a region may write."""
        return {name for k in region.blocks for x in self.graph.blocks[k].code for name in defs(x)}


def plan(function: Function) -> Plan | None:
    """The kernel in regions; None if it isn't certain that its threads meet at every barrier."""
    flow.check_labels(function)
    try:
        return _plan(function)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):  # malformed: others will say how
        return None


def _plan(function: Function) -> Plan | None:
    if flow.spins(function) or flow.in_step(function) or not keeps_to_itself(function):
        return None
    graph = Graph(function)
    if any(not names <= function.regs.keys() for names in graph.live):
        return None
    if graph.end > MAX_BLOCKS or _carries_over(graph):
        return None
    same = Uniformity(graph)
    if any(k in same.apart and any(map(is_barrier, b.code)) for k, b in enumerate(graph.blocks)):
        return None
    found = Plan(graph, same, _regions(graph, same))
    skeleton = {k for r in found.regions.values() for k in r.spine + r.onward}
    kept = sum(SIZE[function.regs[name]] for name in found.kept()) * max_threads(function)
    if skeleton & same.apart or len(found.regions) > MAX_REGIONS or kept > MAX_KEPT_BYTES:
        return None
    return found


def keeps_to_itself(function: Function) -> bool:
    """Whether a thread's instructions leave it running up to the block's barriers, with registers alone."""
    arguments = {v.name for v in function.vars if v.space == "param"}
    local = any(v.space == "local" for v in function.vars)
    return not local and all(_suits(x) and not _points_to(x, arguments) for x in function.instructions())


def _suits(x: Instr) -> bool:
    """Whether an instruction leaves its thread running, or is a barrier of the whole block."""
    if is_barrier(x):
        return _whole_block(x)
    return not flow.gives_way(x) and x.name not in stack.NAMES


def _points_to(x: Instr, variables: set[str]) -> bool:
    """Whether an instruction takes the address of one of a thread's own variables."""
    return x.name != "call" and any(isinstance(a, Sym) and a.name in variables for a in x.args)


def _whole_block(x: Instr) -> bool:
    """bar.sync of all threads, or bar.warp.sync: where all threads come, waiting for all does no harm."""
    if x.pred or x.has("red", "arrive", "cluster"):
        return False
    return x.has("warp") or (len(x.args) <= 1 and all(isinstance(a, Int) for a in x.args))


def _carries_over(graph: Graph) -> bool:
    """Whether a carry flag set in one block is read in another."""
    for block in graph.blocks:
        carry = next((x for x in block.code if x.has("cc") or x.name in CARRY), None)
        if carry is not None and carry.name in CARRY:
            return True
    return False


def _regions(graph: Graph, same: Uniformity) -> dict[int, Region]:
    found: dict[int, Region] = {}
    todo = [0]
    while todo:
        head = todo.pop()
        if head != graph.end and head not in found:
            found[head] = _grow(graph, same, head)
            todo += found[head].onward
    return found


def _grow(graph: Graph, same: Uniformity, head: int) -> Region:
    """The longest chain from `head` on that ends at a barrier, a common branch or where others come in."""
    region, k = Region(head), head
    while True:
        region.spine.append(k)
        region.blocks.add(k)
        block = graph.blocks[k]
        if same.parts(k):
            region.blocks |= graph.between(k)
            onward = [graph.join[k]]
        else:
            onward = block.succ
        barrier = block.last is not None and is_barrier(block.last)
        alone = len(onward) == 1 and onward[0] not in (graph.end, *region.spine)
        if barrier or not alone or not graph.pred[onward[0]] <= region.blocks:
            region.onward = list(onward)
            return region
        k = onward[0]
