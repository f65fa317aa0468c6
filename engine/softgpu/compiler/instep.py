"""A kernel in rounds (rounds.py) as LLVM IR: each region is a loop over the block's threads that does
something for those which wait at its cut; a loop's region repeats until none does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.cfg import uses
from remora.engine.softgpu.compiler.describe import max_threads
from remora.engine.softgpu.compiler.fission import RegionEmitter, Skeleton, step_type
from remora.engine.softgpu.compiler.regions import Region
from remora.engine.softgpu.compiler.rounds import Rounds
from remora.engine.softgpu.compiler.syntax import Function, Operand, Reg

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.unit import Unit

DONE = 255
FEW_ROUNDS = 3
ANY_WAITS = """
define internal i1 @any_waits(ptr %cuts, i64 %count, i8 %cut) nounwind noinline {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %on]
  %at = getelementptr i8, ptr %cuts, i64 %i
  %own = load i8, ptr %at, align 1
  %here = icmp eq i8 %own, %cut
  br i1 %here, label %end, label %on
on:
  %i1 = add nuw nsw i64 %i, 1
  %more = icmp ult i64 %i1, %count
  br i1 %more, label %next, label %end
end:
  ret i1 %here
}"""


class StepEmitter(RegionEmitter):
    """One region for one thread, if it waits at the region's cut."""

    plan: Rounds

    def __init__(self, unit: Unit, function: Function, plan: Rounds, region: Region) -> None:
        super().__init__(unit, function, plan, region)
        self.scope.return_label = "C.end"
        graph, same, kept, steps = plan.graph, plan.same, plan.kept(), plan.steps(region.head)
        read, written = plan.read(region), plan.written(region)
        live = graph.live[region.head]
        later = set().union(*(graph.live[k] for k in region.onward))
        self.stores = sorted(kept & written & later)
        self.steps = sorted(n for n in live & (read | set(self.stores)) if n in steps)
        again = same.chain(*sorted(n for n in live & read if n in same.recomputable))
        self.chain = again + [x for x in plan.starts(region.head, self.steps) if x not in again]
        inputs = {u for x in self.chain for u in uses(x)}
        self.common = sorted(n for n in (live & read) | inputs if same.is_uniform(n))
        self.loads = sorted((kept & live & (read | set(self.stores))) - set(self.steps))

    def block_label(self, k: int) -> str:
        if k in self.region.blocks and k != self.region.head:
            return f"B{k}"
        return f"C.{k}" if k in self.plan.regions else "C.end"

    def translate(self) -> str:
        at = self.emit("zext i32 %tid.x to i64")
        self.cut = self.emit(f"getelementptr i8, ptr %cuts, i64 {at}")
        if self.region.head:
            own = self.emit(f"load i8, ptr {self.cut}, align 1")
            here = self.emit(f"icmp eq i8 {own}, {self.plan.number(self.region.head)}")
            self.branch_if(here, "here", "elsewhere")
            self.place_after("elsewhere")
            self.do("ret void")
            self.place_after("here")
        return super().translate() + ", ptr %cuts"

    def leave(self) -> None:
        """The cut where the thread waits next."""
        self.stop()
        for k in [*self.plan.regions, -1]:
            self.place_after(f"C.{k}" if k >= 0 else "C.end")
            self.do(f"store i8 {self.plan.number(k) if k >= 0 else DONE}, ptr {self.cut}, align 1")
            self.branch("return")

    def goes_on(self, k: int) -> bool:
        return False


class StepSkeleton(Skeleton):
    """rm_entry: the regions in order, a loop's until no thread waits at its header."""

    plan: Rounds

    def __init__(self, unit: Unit, function: Function, plan: Rounds) -> None:
        super().__init__(unit, function, plan)
        self.helpers.append(ANY_WAITS)
        self.allocas.append(f"  %cuts = alloca [{max(max_threads(function), 1)} x i8], align 64")
        for loop in plan.loops.values():
            self.offsets |= {n: self.alloca(step_type(self, n)) for n in loop.steps}

    def translate(self) -> list[tuple[RegionEmitter, str, str]]:
        self.sizes()
        count = self.emit(f"mul i32 {self.emit('mul i32 %nx, %ny')}, %nz")
        count = self.emit(f"zext i32 {count} to i64")
        self.together(self.plan.regions[0])
        self.worthwhile()
        emitted: list[tuple[RegionEmitter, str, str]] = []
        for head, following in zip(self.plan.order, [*self.plan.order[1:], -1], strict=True):
            part = StepEmitter(self.unit, self.scope.function, self.plan, self.plan.regions[head])
            parameters = part.translate()
            emitted.append((part, f"void @region.{head}", parameters))
            onward = f"S.{following}" if following >= 0 else "return"
            if head:
                self.wait(head, count, onward)
            self.place_after(f"K.{head}")
            self.threads(part, head, False)
            self.count_on(head)
            self.branch(f"W.{head}" if head in self.plan.loops else onward)
        self.place("return")
        self.do("ret void")
        return emitted

    def worthwhile(self) -> None:
        """Where no loop has more than a few rounds, each thread runs by itself from start to end."""
        self.lines[:0] = [f"  %tid.{c} = add i32 0, 0" for c in "xyz"]  # the first thread's way to count
        many = "false"
        for head, loop in self.plan.loops.items():
            for x in self.plan.starts(head, [loop.counter]):
                self.instruction(x)
            step, bound = loop.step, loop.bound
            for x in self.plan.same.chain(*(a.name for a in (step, bound) if isinstance(a, Reg))):
                self.instruction(x)
            enough = self.emit(f"mul i64 {self.value(step, 's64')}, {FEW_ROUNDS}")
            way = self.emit(f"sub i64 {self.value(bound, 's64')}, {self.value(Reg(loop.counter), 's64')}")
            back = self.emit(f"icmp slt i64 {enough}, 0")
            far = [self.emit(f"icmp {order} i64 {way}, {enough}") for order in ("slt", "sgt")]
            many = self.emit(f"or i1 {many}, {self.select(back, 'i1', *far)}")
        self.branch_if(many, "K.0", "plainly")
        self.place_after("plainly")
        self.do("call void @plain(ptr %block)")
        self.do("ret void")
        self.terminated = True

    def wait(self, head: int, count: str, onward: str) -> None:
        """Whether a thread waits at this cut."""
        self.place_after(f"S.{head}")
        for name in self.plan.steps(head):
            self.do(f"store {step_type(self, name)} 0, ptr {self.offsets[name]}")
        self.place(f"W.{head}")
        number = self.plan.number(head)
        some = self.emit(f"call i1 @any_waits(ptr %cuts, i64 {count}, i8 {number})")
        self.branch_if(some, f"K.{head}", onward)

    def count_on(self, head: int) -> None:
        """Another round is done."""
        for name, step in self.plan.steps(head).items():
            for x in self.plan.same.chain(step.name) if isinstance(step, Reg) else []:
                self.instruction(x)
            self.advance(name, False, step)

    def advance(self, name: str, starts: bool, step: Operand) -> None:
        kind, slot = step_type(self, name), self.offsets[name]
        value = self.value(step, "b" + kind[1:])
        total = self.emit(f"add {kind} {self.emit(f'load {kind}, ptr {slot}')}, {value}")
        self.do(f"store {kind} {total}, ptr {slot}")

    def more_arguments(self, head: int) -> str:
        return f", ptr %cuts.{head}"

    def more_rows(self, head: int) -> list[str]:
        return [f"  %cuts.{head} = getelementptr i8, ptr %cuts, i64 %at.{head}"]
