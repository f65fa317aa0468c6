"""What the threads of a block have in common: registers that are the same in all of them, and registers
that each thread can work out again from its coordinates. Knows registers and blocks, not LLVM.

A register is *uniform* if every instruction that writes it is pure, reads only uniform values and is run
by all threads or by none. A register is *recomputable* if its one definition is pure integer arithmetic
on coordinates, uniform registers written once and other recomputable ones. Where a definition comes
before every use on every path (the register isn't live at the function's start) its inputs can't have
changed since, so that computing it again gives the same value. An *induction* register is a recomputable
start to which every other definition adds something uniform.
"""

from __future__ import annotations

from collections.abc import Iterable

from remora.engine.softgpu.compiler import special
from remora.engine.softgpu.compiler.cfg import Graph, defs, uses
from remora.engine.softgpu.compiler.syntax import Instr, Int, Mem, Operand, Reg, Special, Sym, Vec
from remora.engine.softgpu.compiler.types import FLOAT, SIZE

INTEGER = frozenset({
    "mov", "add", "sub", "mul", "mad", "shl", "shr", "and", "or", "xor", "not", "cvt", "cvta", "setp", "selp",
    "min", "max",
})  # fmt: skip
PURE = INTEGER | {
    "mul24", "mad24", "div", "rem", "shf", "cnot", "lop3", "neg", "abs", "popc", "clz", "bfind", "brev",
    "bfe", "bfi", "prmt", "sad", "set", "slct", "fma", "sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos",
    "tanh", "copysign", "testp", "isspacep",
}  # fmt: skip
SAME_IN_BLOCK = ("%ntid", "%ctaid", "%nctaid", "%gridid", "%nsmid", "%smid", "%dynamic_smem_size", "%envreg")
COORDINATES = ("%tid.x", "%tid.y", "%tid.z")
MAX_RECOMPUTED = 24  # instructions: beyond that, keeping the value is cheaper


class Uniformity:
    """The classes of a function's registers and blocks."""

    def __init__(self, graph: Graph, apart: Iterable[int] = ()) -> None:
        self.graph = graph
        self.writers: dict[str, list[tuple[int, Instr]]] = {}
        for k, block in enumerate(graph.blocks):
            for x in block.code:
                for name in defs(x):
                    self.writers.setdefault(name, []).append((k, x))
        self.varying: set[str] = set()
        self.apart: set[int] = set(apart)  # blocks that some threads may run and others not
        while self._spread():
            pass
        self.recomputable: dict[str, Instr] = {}
        self.inductions: dict[str, Instr] = {}
        self._settle()

    # -- uniform registers

    def _spread(self) -> bool:
        before = len(self.varying), len(self.apart)
        for name, writers in self.writers.items():
            if name not in self.varying and not all(
                k not in self.apart and self._same(x) for k, x in writers
            ):
                self.varying.add(name)
        for k, block in enumerate(self.graph.blocks):
            if block.jump is not None and self._parts(block.jump):
                self.apart |= self.graph.between(k)
        return before != (len(self.varying), len(self.apart))

    def _parts(self, jump: Instr) -> bool:
        return jump.name == "brx" or (jump.pred is not None and jump.pred.name in self.varying)

    def parts(self, k: int) -> bool:
        """Whether threads may leave block k in different directions."""
        jump = self.graph.blocks[k].jump
        return jump is not None and self._parts(jump)

    def _same(self, x: Instr) -> bool:
        """Whether all threads that run `x` together get the same result."""
        if uses(x) & self.varying or x.has("cc") or not all(map(_same_operand, x.args[1:])):
            return False
        return x.name in PURE or (x.name == "ld" and self.reads_constant(x))

    def reads_constant(self, x: Instr) -> bool:
        """A load of a kernel parameter or of constant memory."""
        mem = x.args[1]
        if not isinstance(mem, Mem) or mem.extra:
            return False
        parameters = {p.name for p in self.graph.function.params}
        spaces = {p.split("::")[0] for p in x.parts}
        return "const" in spaces or (
            "param" in spaces and isinstance(mem.base, Sym) and mem.base.name in parameters
        )

    def is_uniform(self, name: str) -> bool:
        """Whether a register is the same in all threads."""
        return name not in self.varying

    # -- recomputable registers

    def _settle(self) -> None:
        """The greatest sets of recomputable and induction registers that need nothing outside of them."""
        live = self.graph.live[0]
        several = [n for n, w in self.writers.items() if n in self.varying and len(w) > 1 and n not in live]
        self.recomputable = {
            name: w[0][1] for name, w in self.writers.items()
            if name in self.varying and len(w) == 1 and name not in live and _integer(w[0][1])
        }  # fmt: skip
        self.inductions = {n: x for n in several if (x := self._start(n)) is not None}
        unstepped = {(id(x), n) for n in self.inductions for x in self._before_steps(n)}
        while lost := [
            n for n, x in (self.recomputable | self.inductions).items()
            if not all(self._lasts(u, x, unstepped) for u in uses(x)) or len(self.chain(n)) > MAX_RECOMPUTED
        ]:  # fmt: skip
            for name in lost:
                self.recomputable.pop(name, None)
                self.inductions.pop(name, None)

    def _lasts(self, name: str, x: Instr, unstepped: set[tuple[int, str]]) -> bool:
        """Whether the value that `x` reads from a register can still be had after `x`."""
        if name in self.inductions:
            return (id(x), name) in unstepped
        once = len(self.writers.get(name, ())) == 1 and name not in self.graph.live[0]
        return once and (name not in self.varying or name in self.recomputable)

    def lasts(self, name: str, x: Instr) -> bool:
        """Whether the value that `x` reads from a register, not an induction one, can still be had later."""
        return name not in self.inductions and self._lasts(name, x, set())

    def is_start(self, x: Instr) -> bool:
        """Whether an instruction can be run again to get the same result from the same inputs."""
        return _integer(x)

    def _start(self, name: str) -> Instr | None:
        """The one instruction that writes a register anew, if all others add something uniform to it."""
        writers = self.writers[name]
        starts = [x for _, x in writers if not self.is_step(name, x)]
        together = all(k not in self.apart for k, _ in writers)
        return starts[0] if together and len(starts) == 1 and _integer(starts[0]) else None

    def _before_steps(self, name: str) -> list[Instr]:
        """The instructions that can only see what the start of an induction register wrote."""
        graph = self.graph
        stepped: set[int] = set()  # blocks that a step may come before
        todo = [k for k, _ in self.writers[name] if self._steps_in(name, k, False)[-1]]
        while todo:
            for s in graph.blocks[todo.pop()].succ:
                if s != graph.end and s not in stepped:
                    stepped.add(s)
                    todo += [s] if self._steps_in(name, s, True)[-1] else []
        return [
            x for k, block in enumerate(graph.blocks)
            for x, late in zip(block.code, self._steps_in(name, k, k in stepped), strict=False) if not late
        ]  # fmt: skip

    def _steps_in(self, name: str, k: int, stepped: bool) -> list[bool]:
        """Before each instruction of block k, and after the last: whether the register may have stepped."""
        states = [stepped]
        for x in self.graph.blocks[k].code:
            states.append(x is not self.inductions[name] if name in defs(x) else states[-1])
        return states

    def is_step(self, name: str, x: Instr) -> bool:
        """Whether `x` is name += something uniform, at the register's own width."""
        return self.adds_to(name, x) and self._uniform_operand(x.args[2])

    def _uniform_operand(self, step: Operand) -> bool:
        return isinstance(step, Int) or (isinstance(step, Reg) and self.is_uniform(step.name))

    def adds_to(self, name: str, x: Instr) -> bool:
        """Whether `x` is name += something, at the register's own width."""
        if x.name != "add" or x.pred or len(x.parts) != 2 or x.parts[1] not in ("s32", "u32", "s64", "u64"):
            return False
        if self.graph.function.regs.get(name, "pred") in ("pred", "f32", "f64"):
            return False
        same_width = SIZE[self.graph.function.regs[name]] == SIZE[x.parts[1]]
        return same_width and x.args[1] == Reg(name)

    def chain(self, *names: str) -> list[Instr]:
        """The instructions that compute recomputable registers and the starts of inductions, in order."""
        order: dict[int, Instr] = {}
        seen: set[str] = set()

        def visit(name: str) -> None:
            x = self.recomputable.get(name) or self.inductions.get(name)
            if x is None or name in seen:
                return
            seen.add(name)
            for source in sorted(uses(x)):
                visit(source)
            order[id(x)] = x

        for name in names:
            visit(name)
        return list(order.values())


def _integer(x: Instr) -> bool:
    """Cheap and without side effects, whatever its inputs."""
    types = x.types()
    floats = any(t in FLOAT or t == "b128" for t in types)
    operands = all(_same_operand(a) or (isinstance(a, Special) and a.name in COORDINATES) for a in x.args[1:])
    plain = x.name in INTEGER and not x.pred and not x.has("cc") and not floats
    return plain and operands and len(defs(x)) == 1 and isinstance(x.args[0], Reg)


def _same_operand(operand: Operand) -> bool:
    """False for special registers that differ among a block's threads or change with time."""
    if isinstance(operand, Vec):
        return all(map(_same_operand, operand.items))
    if isinstance(operand, Special):
        return operand.name.startswith(SAME_IN_BLOCK) and operand.name not in special.CLOCK
    return True
