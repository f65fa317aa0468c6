"""A kernel in regions (regions.py) as LLVM IR: the skeleton runs once for a block; each region is a loop
over the block's threads, which LLVM can vectorise.

Uniform registers are the skeleton's. Registers that threads keep from region to region lie in arrays on
the stack; those that can be recomputed are, so that LLVM still sees how addresses grow from one thread to
the next. A region has its own copy of every register: it runs the uniform instructions, too, on the
values they had when it began.

Loads and stores of different threads between two barriers may go in any order, but the loops don't say so
to LLVM: marked with `parallel_accesses`, its vectoriser (22.1) was seen to let a thread's own conditional
stores go astray. It proves, or checks as it goes, what it needs to know about addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler import abi, guard, threads
from remora.engine.softgpu.compiler.cfg import defs, is_barrier, uses
from remora.engine.softgpu.compiler.describe import max_threads
from remora.engine.softgpu.compiler.function import FunctionEmitter
from remora.engine.softgpu.compiler.regions import Plan, Region
from remora.engine.softgpu.compiler.syntax import Function, Operand
from remora.engine.softgpu.compiler.types import int_type

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.unit import Unit

METADATA = ['!4 = !{!"llvm.loop.interleave.count", i32 1}']
ROWS = """  %first@@ = mul i32 %n@@, %nx
  %at@@ = zext i32 %first@@ to i64
"""


class RegionEmitter(FunctionEmitter):
    """One region for one thread. Its arguments are what it needs from outside, by kind of register."""

    def __init__(self, unit: Unit, function: Function, plan: Plan, region: Region) -> None:
        super().__init__(unit, function, kernel=True)
        self.plan = plan
        self.region = region
        self.scope.return_label = "return"
        graph, same, kept = plan.graph, plan.same, plan.kept()
        read, written = plan.read(region), plan.written(region)
        live = graph.live[region.head]
        later = set().union(*(graph.live[k] for k in region.onward))
        again = sorted(n for n in live & read if n in same.recomputable or n in same.inductions)
        self.chain = same.chain(*again)
        inputs = {u for x in self.chain for u in uses(x)}
        self.steps = [n for n in again if n in same.inductions]
        self.common = sorted(n for n in (live & read) | inputs if same.is_uniform(n))
        self.stores = sorted(kept & written & later)
        self.loads = sorted(kept & live & (read | set(self.stores)))

    def kind(self, name: str) -> str:
        """The LLVM type of a register."""
        return slot_type(self, name)

    def label_name(self, name: str) -> str:
        """The label of a block, or the region's end for one outside it."""
        return self.block_label(self.plan.graph.of_label[name])

    def block_label(self, k: int) -> str:
        return f"B{k}" if k in self.region.blocks and k != self.region.head else "return"

    def translate(self) -> str:
        """The parameters beside CONTEXT; the body is in lines."""
        self.enter()
        for k in sorted(self.region.blocks):
            self.block(k)
        self.leave()
        self.place("return")
        for name in self.stores:
            value = self.emit(f"load {self.kind(name)}, ptr {self.slot(name)[0]}")
            if self.kind(name) == "i1":
                value = self.emit(f"zext i1 {value} to i8")
            self.do(f"store {memory_type(self, name)} {value}, ptr {self.kept(name)}")
        self.do("ret void")
        return self.parameters()

    def parameters(self) -> str:
        """What stands behind CONTEXT in the signature."""
        arrays = sorted(set(self.loads) | set(self.stores))
        return "".join(
            [f', {self.kind(n)} %"u.{n}"' for n in self.common]
            + [f', {step_type(self, n)} %"s.{n}"' for n in self.steps]
            + [f', ptr %"k.{n}"' for n in arrays]
        )

    def find_guard(self) -> guard.Guard | None:
        """What threads have to pass for the region to matter to them."""
        plan, region = self.plan, self.region
        if self.stores:
            return None
        return guard.find(plan.graph, plan.same, region.head, region.blocks, region.spine[-1])

    def translate_range(self, found: guard.Guard) -> None:
        """The body of the function that says which threads pass."""
        self.enter()
        self.place_after(f"B{self.region.head}")
        threads.emit_range(self, found)

    def leave(self) -> None:
        """What comes before the end of the region."""

    def goes_on(self, k: int) -> bool:
        """Whether the skeleton decides what follows block k."""
        return k in self.region.spine and not self.plan.same.parts(k)

    def enter(self) -> None:
        """Registers as they are when the region begins."""
        for name in self.common:
            self.do(f'store {self.kind(name)} %"u.{name}", ptr {self.slot(name)[0]}')
        for name in self.loads:
            value = self.emit(f"load {memory_type(self, name)}, ptr {self.kept(name)}")
            if self.kind(name) == "i1":
                value = self.emit(f"trunc i8 {value} to i1")
            self.do(f"store {self.kind(name)} {value}, ptr {self.slot(name)[0]}")
        for x in self.chain:
            self.instruction(x)
        for name in self.steps:
            self.step(name)
        self.branch(f"B{self.region.head}")

    def step(self, name: str) -> None:
        """An induction register: its start and what has been added to it."""
        slot, kind = self.slot(name)[0], self.kind(name)
        start = self.emit(f"load {kind}, ptr {slot}")
        if kind == "ptr":
            now = self.emit(f'getelementptr i8, ptr {start}, i64 %"s.{name}"')
        else:
            now = self.emit(f'add {kind} {start}, %"s.{name}"')
        self.do(f"store {kind} {now}, ptr {slot}")

    def kept(self, name: str) -> str:
        """Where this thread keeps a register."""
        at = self.emit("zext i32 %tid.x to i64")
        return self.emit(f'getelementptr {memory_type(self, name)}, ptr %"k.{name}", i64 {at}')

    def block(self, k: int) -> None:
        block = self.plan.graph.blocks[k]
        self.lines.append(f"B{k}:")
        self.terminated = False
        skeleton = self.goes_on(k)
        for x in block.code:
            if is_barrier(x) or (skeleton and x is block.jump):
                continue
            if self.terminated:
                self.lines.append(self.new_label("dead") + ":")
                self.terminated = False
            self.instruction(x)
        if skeleton and len(block.succ) == 1:
            self.branch(self.block_label(block.succ[0]))
        elif skeleton:
            self.branch("return")
        else:
            self.branch(self.block_label(k + 1))


class Skeleton(FunctionEmitter):
    """rm_entry: the regions in the order that the block as a whole takes, and its uniform registers."""

    def __init__(self, unit: Unit, function: Function, plan: Plan) -> None:
        super().__init__(unit, function, kernel=True)
        self.plan = plan
        self.loops: list[str] = []
        self.helpers: list[str] = []  # definitions beside the regions
        self.offsets = {n: self.alloca(step_type(self, n)) for n in plan.same.inductions}
        for name in sorted(plan.kept()):
            array = f"[{max(max_threads(function), 1)} x {memory_type(self, name)}]"
            self.allocas.append(f'  %"k.{name}" = alloca {array}, align 64')
            if name in plan.graph.live[0]:  # may be read before it is written: a number all the same
                self.allocas.append(f'  store {array} zeroinitializer, ptr %"k.{name}", align 64')

    def translate(self) -> list[tuple[RegionEmitter, str, str]]:
        """Fill in the body; returns the regions with their types and names, and their parameters."""
        self.sizes()
        self.branch("K.0")
        emitted = []
        for head, region in sorted(self.plan.regions.items()):
            part, which = self.emitter(region), self.emitter(region)
            found = part.find_guard()
            part.settle(found)
            emitted.append((part, f"void @region.{head}", part.translate()))
            if found is not None:
                which.translate_range(found)
                emitted.append((which, f"{threads.RANGE} @range.{head}", which.parameters()))
            self.place_after(f"K.{head}")
            self.threads(part, head, found is not None)
            self.together(region)
            self.go_on(region)
        self.place("return")
        self.do("ret void")
        return emitted

    def emitter(self, region: Region) -> RegionEmitter:
        """For one thread's part of a region."""
        return RegionEmitter(self.unit, self.scope.function, self.plan, region)

    def sizes(self) -> None:
        """The block's dimensions."""
        for c in "xyz":
            at = self.field("%block", abi.BLOCK["ntid"] + 4 * "xyz".index(c))
            self.do(f"%n{c} = load i32, ptr {at}, align 4, !invariant.load !0, !range !3")

    def more_arguments(self, head: int) -> str:
        """Further arguments of a region."""
        return ""

    def more_rows(self, head: int) -> list[str]:
        """What the loop over threads computes for them in each row."""
        return []

    def threads(self, part: RegionEmitter, head: int, guarded: bool) -> None:
        """The loop over the threads."""
        arguments, rows = "", []
        for name in part.common:
            kind = slot_type(self, name)
            arguments += f", {kind} {self.emit(f'load {kind}, ptr {self.slot(name)[0]}')}"
        for name in part.steps:
            kind = step_type(self, name)
            arguments += f", {kind} {self.emit(f'load {kind}, ptr {self.offsets[name]}')}"
        for i, name in enumerate(sorted(set(part.loads) | set(part.stores))):
            place = f'getelementptr {memory_type(self, name)}, ptr %"k.{name}", i64 %at.{head}'
            rows.append(f"  %row{i}.{head} = {place}")
            arguments += f", ptr %row{i}.{head}"
        arguments += self.more_arguments(head)
        rows += self.more_rows(head)
        meta = 10 + head
        self.loops.append(f"!{meta} = distinct !{{!{meta}, !4}}")
        mark = f".{head}"
        before = ROWS.replace("@@", mark) + "".join(f"{row}\n" for row in rows)
        called, meta_text = f"region{mark}", f", !llvm.loop !{meta}"
        text = threads.loop(mark, f"K{mark}", called, guarded, arguments, before, meta_text)
        self.lines += text.split("\n")

    def together(self, region: Region) -> None:
        """The instructions whose result all threads share, once."""
        same = self.plan.same
        for k in region.spine:
            block = self.plan.graph.blocks[k]
            for x in block.code:
                written = defs(x)
                if x is block.jump or is_barrier(x) or not written:
                    continue
                if all(map(same.is_uniform, written)):
                    self.instruction(x)
                for name in written & same.inductions.keys():
                    self.advance(name, x is same.inductions[name], x.args[-1])

    def advance(self, name: str, starts: bool, step: Operand) -> None:
        kind, slot = step_type(self, name), self.offsets[name]
        total = "0"
        if not starts:
            value = self.value(step, "b" + kind[1:])
            total = self.emit(f"add {kind} {self.emit(f'load {kind}, ptr {slot}')}, {value}")
        self.do(f"store {kind} {total}, ptr {slot}")

    def go_on(self, region: Region) -> None:
        """To the region that comes next."""
        jump = self.plan.graph.blocks[region.spine[-1]].jump
        labels = [f"K.{k}" if k != self.plan.graph.end else "return" for k in region.onward]
        if len(labels) == 2:
            assert jump is not None and jump.pred is not None
            self.branch_if(self.value(jump.pred, "pred"), *labels)
        elif labels:
            self.branch(labels[0])
        else:
            self.stop()


def slot_type(f: FunctionEmitter, name: str) -> str:
    """The LLVM type of a register's slot."""
    return "ptr" if name in f.scope.pointers else int_type(f.scope.function.regs[name])


def step_type(f: FunctionEmitter, name: str) -> str:
    """The type of what is added to an induction register."""
    return int_type(f.scope.function.regs[name])


def memory_type(f: FunctionEmitter, name: str) -> str:
    """A register's type in an array: predicates take a byte."""
    kind = slot_type(f, name)
    return "i8" if kind == "i1" else kind
