"""An object's worth of LLVM IR: a kernel and the device functions it calls, or a module's address-taken
functions.

Loop mode wraps the thread function into a triple loop over the block's threads. Coroutine mode makes it
an LLVM coroutine whose frame comes from rm_frame. ../kernel_abi.h says what the object exports and
refers to.
"""

from __future__ import annotations

import math

from remora.engine.softgpu.compiler import abi, flow, guard, opcodes, regions, rounds, threads
from remora.engine.softgpu.compiler.describe import function_symbol, param_layout
from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.fission import METADATA, Skeleton
from remora.engine.softgpu.compiler.function import FunctionEmitter
from remora.engine.softgpu.compiler.instep import StepSkeleton
from remora.engine.softgpu.compiler.module import Module
from remora.engine.softgpu.compiler.pointers import pointer_registers
from remora.engine.softgpu.compiler.syntax import Function, Sym

opcodes.load()

CONTEXT = ("ptr align 8 dereferenceable(128) %block", "ptr %thread", "i32 %tid.x", "i32 %tid.y", "i32 %tid.z")
ATTRIBUTES = 'nounwind null_pointer_is_valid "no-builtins"'
CORO_DECLARATIONS = {
    "llvm.coro.id": "token @llvm.coro.id(i32, ptr, ptr, ptr)",
    "llvm.coro.size.i64": "i64 @llvm.coro.size.i64()",
    "llvm.coro.begin": "ptr @llvm.coro.begin(token, ptr)",
    "llvm.coro.free": "ptr @llvm.coro.free(token, ptr)",
    "llvm.coro.end": "void @llvm.coro.end(ptr, i1, token)",
    "rm_frame": "ptr @rm_frame(ptr, i64)",
}
BLOCK_LOOP = """
define void @rm_entry(ptr align 8 dereferenceable(128) %block) ATTRIBUTES {
entry:
  %nx = load i32, ptr %block, align 4, !invariant.load !0, !range !3
  %py = getelementptr i8, ptr %block, i64 4
  %ny = load i32, ptr %py, align 4, !invariant.load !0, !range !3
  %pz = getelementptr i8, ptr %block, i64 8
  %nz = load i32, ptr %pz, align 4, !invariant.load !0, !range !3
LOOP
  ret void
}""".replace("ATTRIBUTES", ATTRIBUTES)


class Unit:
    """Collects the IR of one object. After kernel() or functions(), text() is complete."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.coroutine = False
        self.mode = "loop"  # or "regions" or "coroutine"
        self.flags = 0
        self.declarations: dict[str, str] = {}
        self.externals: dict[str, None] = {}
        self.definitions: list[str] = []
        self.metadata: list[str] = []
        self.shared: dict[tuple[str, str], int] = {}
        self.param_offset: dict[str, int] = {}
        self.param_bytes = 0
        self.wanted: list[str] = []
        self.known: set[str] = set()
        self.exported: frozenset[str] = frozenset()
        self._gives_way: dict[str, bool] = {}
        self._pointers: dict[str, frozenset[str]] = {}

    # -- what the function emitters ask

    def external(self, symbol: str) -> str:
        """The address of a symbol that the loader resolves (or that this object exports)."""
        if symbol.removeprefix("f.") not in self.exported:
            self.externals[symbol] = None
        return f'@"{symbol}"'

    def shared_offset(self, function: str, name: str) -> int | None:
        """The offset of a shared variable seen from a function, None when it isn't one."""
        local = self.shared.get((function, name))
        return self.shared.get(("", name)) if local is None else local

    def pointers_of(self, function: Function) -> frozenset[str]:
        """The registers of a function that are kept as pointers."""
        if function.name not in self._pointers:
            self._pointers[function.name] = pointer_registers(function)
        return self._pointers[function.name]

    def gives_way(self, name: str) -> bool:
        """Whether a function or anything it calls should let other threads run."""
        if name not in self._gives_way:
            called = map(self.module.function, self._calls(name))
            self._gives_way[name] = any(map(flow.function_gives_way, called))
        return self._gives_way[name]

    def waits(self, name: str) -> bool:
        """Whether a function or anything it calls can't do without other threads."""
        return any(flow.function_waits(self.module.function(n)) for n in self._calls(name))

    def may_exit(self, name: str) -> bool:
        """Whether a call of the function can end the thread."""
        return any(flow.exits(self.module.function(n)) for n in self._calls(name))

    def _calls(self, name: str) -> list[str]:
        """`name` and the functions that it calls or may call through a pointer, at any depth."""
        order = [name]
        for caller in order:  # grows while it is walked
            function = self.module.function(caller)
            targets = [flow.call_target(x) for x in function.instructions() if x.name == "call"]
            entries = [self.module.entry(t.name) for t in targets if isinstance(t, Sym)]
            called = [e.name for e in entries if e is not None and e.body >= 0]
            for results, arguments in sorted(flow.indirect_calls(function)):
                called += self.behind_pointers(results, arguments)
            order += [n for n in dict.fromkeys(called) if n not in order]
        return order

    def behind_pointers(self, results: int, arguments: int) -> list[str]:
        """The functions that a call through a pointer may reach, by how many operands they have."""
        found = []
        for name in self.module.taken_functions():
            header = self.module.header(name)
            if (len(header.rets), len(header.params)) == (results, arguments):
                found.append(name)
        return found

    def want(self, name: str) -> str:
        """The IR name of a device function, which this object will define."""
        if name not in self.known:
            self.known.add(name)
            self.wanted.append(name)
        return f'@"call.{name}"'

    # -- objects

    def kernel(self, name: str) -> None:
        """Translate a kernel and what it calls."""
        function = self.module.function(name)
        if math.prod(function.limits.get(".reqnctapercluster", [1])) > 1:
            raise UnsupportedError("kernels in clusters of several blocks are not supported", function.pos)
        self.coroutine = self.gives_way(name)
        self.shared, static = self.module.shared_layout(name)
        offsets, self.param_bytes = param_layout(function.params)
        self.param_offset = {p.name: o for p, o in zip(function.params, offsets, strict=True)}
        if not self.coroutine:
            self._loop(function)
        elif self._regions(function):
            self.mode = "regions"
        else:
            self.mode = "coroutine"
            self._coroutine(function)
        self._callees()
        local = sum(v.size for v in function.vars if v.space == "local")
        self._info(static, local)

    def functions(self) -> None:
        """Translate the functions whose address is taken; each gets an exported name."""
        names = self.module.taken_functions()
        self.exported = frozenset(names)
        for name in names:
            self.want(name)
        self._callees()
        for name in names:
            self.definitions.append(f'@"{function_symbol(name)}" = alias ptr, ptr @"call.{name}"')

    def text(self) -> str:
        """The IR module."""
        lines = [f"declare {sig}" for sig in self.declarations.values()]
        lines += [f'@"{s}" = external global [0 x i8]' for s in self.externals]
        known = ["!0 = !{}", f"!1 = !{{i64 {self.param_bytes}}}", "!2 = !{i64 16}", "!3 = !{i32 1, i32 1025}"]
        metadata = [*known, *self.metadata, ""]
        return "\n".join(lines + self.definitions + metadata)

    def _info(self, static: int, local: int) -> None:
        mode = abi.MODE_CORO if self.coroutine else abi.MODE_LOOP
        words = [abi.KERNEL_ABI, mode, 1, static, self.param_bytes, local, self.flags] + [
            0
        ] * abi.KERNEL_INFO_RESERVED
        values = ", ".join(f"i32 {w}" for w in words)
        self.definitions.append(f"@rm_kernel = constant [{len(words)} x i32] [{values}], align 16")

    # -- function shells

    def _loop(self, function: Function) -> None:
        found = rounds.plan(function) if self._steady(function) else None
        passing = guard.at_start(function) if found is None else None
        f = FunctionEmitter(self, function, kernel=True)
        f.settle(passing)
        f.body()
        f.place("return")
        f.do("ret void")
        self._define(f, f"internal void @thread({', '.join(CONTEXT)})", "alwaysinline", [])
        if passing is not None:
            self._range(function, passing)
        block_loop = BLOCK_LOOP.replace("LOOP", threads.loop("", "entry", "thread", passing is not None))
        if found is not None and self._in_parts(StepSkeleton(self, function, found)):
            self.mode = "rounds"
            plain = block_loop.replace("void @rm_entry", "internal void @plain")
            self.definitions.append(plain.replace(ATTRIBUTES, f"{ATTRIBUTES} noinline optsize"))
        else:
            self.definitions.append(block_loop)

    def _range(self, function: Function, passing: guard.Guard) -> None:
        """Which threads of a row pass the guard that the kernel starts with."""
        f = FunctionEmitter(self, function, kernel=True)
        threads.emit_range(f, passing)
        self._define(f, f"internal {threads.RANGE} @range({', '.join(CONTEXT)})", "alwaysinline", [])

    def _regions(self, function: Function) -> bool:
        """Region mode, if the kernel suits it."""
        found = regions.plan(function) if self._steady(function) else None
        if found is None:
            return False
        self.coroutine = False
        if self._in_parts(Skeleton(self, function, found)):
            return True
        self.coroutine = True
        return False

    def _steady(self, function: Function) -> bool:
        """Whether the kernel's calls neither wait for other threads nor end the thread."""
        callees = [self.module.function(n) for n in self._calls(function.name)[1:]]
        return not flow.has_indirect_call(function) and not any(map(_unsteady, callees))

    def _in_parts(self, skeleton: Skeleton) -> bool:
        """A skeleton and its regions; False where the kernel's plain translation will say what is wrong."""
        try:
            parts = skeleton.translate()
        except PtxError:
            return False
        for part, name, parameters in parts:
            self._define(part, f"internal {name}({', '.join(CONTEXT)}{parameters})", "alwaysinline", [])
        self._define(skeleton, "void @rm_entry(ptr align 8 dereferenceable(128) %block)", "", [])
        self.definitions += skeleton.helpers
        self.metadata += METADATA + skeleton.loops
        return True

    def _coroutine(self, function: Function) -> None:
        f = FunctionEmitter(self, function, kernel=True)
        self.declarations.update(CORO_DECLARATIONS)
        f.body()
        f.place("return")
        f.set_thread_field("state", "i32", str(abi.STATE["done"]))
        f.do("br label %suspended")
        f.lines += [
            "cleanup:", "  %memory = call ptr @llvm.coro.free(token %id, ptr %handle)",
            "  br label %suspended",
            "suspended:", "  call void @llvm.coro.end(ptr %handle, i1 false, token none)",
            "  ret ptr %handle",
        ]  # fmt: skip
        head = [
            "%id = call token @llvm.coro.id(i32 0, ptr null, ptr null, ptr null)",
            "%size = call i64 @llvm.coro.size.i64()",
            "%frame = call ptr @rm_frame(ptr %thread, i64 %size)",
            "%handle = call ptr @llvm.coro.begin(token %id, ptr %frame)",
        ]
        for i, c in enumerate("xyz"):
            head.append(f"%p.{c} = getelementptr i8, ptr %thread, i64 {abi.THREAD['tid'] + 4 * i}")
            head.append(f"%tid.{c} = load i32, ptr %p.{c}, align 4, !invariant.load !0")
        self._define(f, "ptr @rm_entry(ptr %block, ptr %thread)", "presplitcoroutine", head)

    def _callees(self) -> None:
        while self.wanted:
            self._device_function(self.wanted.pop())

    def _device_function(self, name: str) -> None:
        function = self.module.function(name)
        if self.waits(name):
            self._never_called(function)
            return
        f = FunctionEmitter(self, function, kernel=False)
        pointers = [f"%ret{i}" for i in range(len(function.rets))] + [
            f"%arg{i}" for i in range(len(function.params))
        ]
        for v, pointer in zip(function.rets + function.params, pointers, strict=True):
            f.scope.memory[v.name] = pointer
        for v, pointer in list(zip(function.rets + function.params, pointers, strict=True))[
            len(function.rets) :
        ]:
            opcodes.control.load_register_parameter(f, v, pointer)
        f.body()
        f.place("return")
        opcodes.control.store_register_results(f, function)
        f.do("ret i1 false")
        arguments = ", ".join([*CONTEXT, *(f"ptr {p}" for p in pointers)])
        linkage = "" if name in self.exported else "internal "
        self._define(f, f'{linkage}i1 @"call.{name}"({arguments})', "", [])

    def _never_called(self, function: Function) -> None:
        """The address of a function that waits. Kernels have its code in them, where they call it."""
        if function.name not in self.exported:
            raise UnsupportedError(f"{function.name} waits for other threads and calls itself", function.pos)
        f = FunctionEmitter(self, function, kernel=False)
        f.call("rm_trap", "void", ("ptr", "%block"))
        f.stop()
        arguments = "".join(", ptr" for _ in function.rets + function.params)
        self._define(f, f'i1 @"call.{function.name}"({", ".join(CONTEXT)}{arguments})', "", [])

    def _define(self, f: FunctionEmitter, signature: str, attributes: str, head: list[str]) -> None:
        head = head + [
            f"%params.at = getelementptr i8, ptr %block, i64 {abi.BLOCK['params']}",
            "%params = load ptr, ptr %params.at, align 8, !invariant.load !0, !dereferenceable !1, !align !2",
            f"%shared.at = getelementptr i8, ptr %block, i64 {abi.BLOCK['shared']}",
            "%shared = load ptr, ptr %shared.at, align 8, !invariant.load !0",
        ]
        lines = [f"define {signature} {ATTRIBUTES} {attributes} {{", "entry:"]
        lines += [f"  {h}" for h in head] + f.allocas + f.lines + ["}"]
        self.definitions.append("\n".join(lines))


def _unsteady(function: Function) -> bool:
    """Whether a call of the function may wait for other threads or end the thread."""
    return flow.function_gives_way(function) or flow.exits(function)
