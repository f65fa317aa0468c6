"""Control flow: branches, calls, the end of a thread, traps; printf, assert, malloc and free behind
calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.registry import op
from remora.engine.softgpu.compiler.syntax import Function, Group, Instr, Operand, Reg, Sink, Sym, Var
from remora.engine.softgpu.compiler.types import SIZE, bits, raw

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

MAX_INLINED = 200
NO_LAUNCHES = "kernels that launch kernels (dynamic parallelism) are not supported"


@op("bra", "uni")
def bra(f: FunctionEmitter, x: Instr) -> None:
    """bra label"""
    (label,) = x.args
    target = f.label_name(_label(label))
    if x.pred is None:
        f.branch(target)
        return
    onward = f.new_label("next")
    f.branch_if(f.value(x.pred, "pred"), target, onward)
    f.place_after(onward)


def _label(operand: Operand) -> str:
    if not isinstance(operand, Sym):
        raise PtxError("a branch needs a label")
    return operand.name


@op("brx", "idx uni")
def brx(f: FunctionEmitter, x: Instr) -> None:
    """brx.idx index, table"""
    selector, table = x.args
    index = f.value(selector, "u32")
    targets = f.scope.function.tables[_label(table)]
    beyond = f.new_label("beyond")
    cases = " ".join(f"i32 {i}, label %{f.label_name(t)}" for i, t in enumerate(targets))
    f.do(f"switch i32 {index}, label %{beyond} [{cases}]")
    f.place_after(beyond)
    f.stop()


@op("ret", "uni")
def ret(f: FunctionEmitter, x: Instr) -> None:
    """ret"""
    f.branch(f.scope.return_label)


@op("exit")
def exit_thread(f: FunctionEmitter, x: Instr) -> None:
    """exit: the thread ends, from any depth."""
    _leave(f)


def _leave(f: FunctionEmitter) -> None:
    if f.kernel:
        f.branch("return")
    else:
        f.do("ret i1 true")
        f.terminated = True


@op("trap brkpt")
def trap(f: FunctionEmitter, x: Instr) -> None:
    """trap: the launch fails."""
    f.call("rm_trap", "void", ("ptr", "%block"))
    f.stop()


@op(
    "createpolicy",
    "fractional range cvt L2 global L2::evict_last L2::evict_normal L2::evict_first L2::evict_unchanged",
    "b64",
)
def createpolicy(f: FunctionEmitter, x: Instr) -> None:
    """A cache policy is a number that only hints read."""
    f.store(x.args[0], "b64", "0")


@op("nop")
@op("pmevent", "mask")
@op("griddepcontrol", "launch_dependents wait")
@op("setmaxnreg", "inc dec sync aligned u32")
@op("prefetch prefetchu", "global local L1 L2 L2::evict_last L2::evict_normal tensormap")
@op("discard", "global L2")
@op("applypriority", "global L2::evict_normal")
def nothing(f: FunctionEmitter, x: Instr) -> None:
    """Hints without a result."""


# -- calls


@op("call", "uni")
def call(f: FunctionEmitter, x: Instr) -> None:
    """call (results), function, (arguments)"""
    args = list(x.args)
    results = args.pop(0).items if isinstance(args[0], Group) else []  # type: ignore[union-attr]
    target = args.pop(0)
    values = args[0].items if args and isinstance(args[0], Group) else []
    name = target.name if isinstance(target, Sym) else ""
    if name in BUILTIN and _is_external(f, name):
        BUILTIN[name](f, [_argument(f, a) for a in values], results)
        return
    pointers = [_result_slot(f, r) for r in results] + [_argument(f, a) for a in values]
    if not isinstance(target, Sym):
        _indirect_call(f, f.value(target, "u64"), pointers, len(results))
    else:
        _direct_call(f, name, pointers, len(results))
    for result, pointer in zip(results, pointers, strict=False):
        if isinstance(result, Reg):
            ty = raw(f.slot(result.name)[1])
            f.store(result, ty, f.load(f"i{bits(ty)}", pointer, 1 if ty == "pred" else SIZE[ty]))


def _is_external(f: FunctionEmitter, name: str) -> bool:
    entry = f.unit.module.entry(name)
    return entry is None or entry.body < 0


def _direct_call(f: FunctionEmitter, name: str, pointers: list[str], results: int) -> None:
    entry = f.unit.module.entry(name)
    if name.startswith("__cudaCDP"):
        raise UnsupportedError(f"{NO_LAUNCHES} ({name})")
    if entry is None or entry.body < 0 or entry.entry:
        raise UnsupportedError(f"call of {name}, which this module doesn't define")
    function = f.unit.module.function(entry.name)
    if results == 1 and not function.rets:  # linked images may disagree: what is not returned is anything
        pointers = pointers[1:]
    if len(pointers) != len(function.rets) + len(function.params):
        raise PtxError(f"call of {name} with the wrong number of arguments")
    if _becomes_part(f, entry.name):
        _inline(f, function, pointers)
    else:
        _call_function(f, f.unit.want(entry.name), pointers, f.unit.may_exit(entry.name))


def _becomes_part(f: FunctionEmitter, name: str) -> bool:
    """Whether a callee is inlined, because it suspends the coroutine."""
    if not (f.unit.coroutine and f.kernel and f.unit.gives_way(name)):
        return False
    return name not in f.stack or f.unit.waits(name)


def _indirect_call(f: FunctionEmitter, address: str, pointers: list[str], results: int) -> None:
    """A call through a pointer. Functions that suspend the coroutine are told by their address."""
    names = f.unit.behind_pointers(results, len(pointers) - results)
    done = f.new_label("called")
    for name in [n for n in names if n not in f.stack and _becomes_part(f, n)]:
        yes, no = f.new_label("is"), f.new_label("other")
        own = f.emit(f"ptrtoint ptr {f.symbol_pointer(name)} to i64")
        f.branch_if(f.emit(f"icmp eq i64 {address}, {own}"), yes, no)
        f.place_after(yes)
        _inline(f, f.unit.module.function(name), pointers)
        f.branch(done)
        f.place_after(no)
    _call_function(f, f.emit(f"inttoptr i64 {address} to ptr"), pointers, may_exit=True)
    f.place(done)


def _call_function(f: FunctionEmitter, target: str, pointers: list[str], may_exit: bool) -> None:
    context = "ptr %block, ptr %thread, i32 %tid.x, i32 %tid.y, i32 %tid.z"
    gone = f.emit(f"call i1 {target}({context}{''.join(f', ptr {p}' for p in pointers)})")
    if may_exit:
        leave, stay = f.new_label("leave"), f.new_label("stay")
        f.branch_if(gone, leave, stay)
        f.place_after(leave)
        _leave(f)
        f.place_after(stay)


def _inline(f: FunctionEmitter, function: Function, pointers: list[str]) -> None:
    """A callee that waits becomes part of the coroutine."""
    if function.name in f.stack:
        raise UnsupportedError(f"{function.name} waits for other threads and calls itself")
    f.inlined += 1
    if f.inlined > MAX_INLINED:
        raise UnsupportedError("too many calls of functions that wait for other threads")
    outer, index = f.scope, f.index
    done = f.new_label("returned")
    f.scope = f.new_scope(function, f"{f.inlined}~", done)
    for v, pointer in zip(function.rets + function.params, pointers, strict=True):
        f.scope.memory[v.name] = pointer
    for v, pointer in zip(function.params, pointers[len(function.rets) :], strict=True):
        load_register_parameter(f, v, pointer)
    f.body()
    f.place(done)
    store_register_results(f, function)
    f.scope, f.index = outer, index


def load_register_parameter(f: FunctionEmitter, v: Var, pointer: str) -> None:
    """A `.reg` parameter takes its value when the function starts."""
    if v.space == "reg":
        f.store(Reg(v.name), raw(v.type), f.load(f"i{bits(v.type)}", pointer, 1))


def store_register_results(f: FunctionEmitter, function: Function) -> None:
    """`.reg` results are handed over when the function returns."""
    for v in function.rets:
        if v.space == "reg":
            value = f.value(Reg(v.name), raw(v.type))
            f.do(f"store i{bits(v.type)} {value}, ptr {f.scope.memory[v.name]}, align 1")


def _result_slot(f: FunctionEmitter, operand: Operand) -> str:
    if isinstance(operand, Sym):
        return f.scope.memory[operand.name]
    if isinstance(operand, Reg | Sink):
        return f.alloca("[2 x i64]", 16)
    raise PtxError("the result of a call must be a register or a parameter")


def _argument(f: FunctionEmitter, operand: Operand) -> str:
    """Where an argument's value lies in memory."""
    if isinstance(operand, Sym) and operand.name in f.scope.memory:
        return f.scope.memory[operand.name]
    slot = f.alloca("[2 x i64]", 16)
    ty = raw(f.slot(operand.name)[1]) if isinstance(operand, Reg) else "b64"
    f.do(f"store i{bits(ty)} {f.value(operand, ty)}, ptr {slot}, align {1 if ty == 'pred' else SIZE[ty]}")
    return slot


# -- functions that the runtime provides


def _give(f: FunctionEmitter, results: list[Operand], ty: str, value: str) -> None:
    if results and isinstance(results[0], Sym):
        f.do(f"store {ty} {value}, ptr {f.scope.memory[results[0].name]}")
    elif results:
        f.store(results[0], {"i32": "b32", "i64": "b64"}[ty], value)


def _printf(f: FunctionEmitter, args: list[str], results: list[Operand]) -> None:
    text, values = (f.load("ptr", a, 8) for a in args)
    _give(f, results, "i32", f.call("rm_printf", "i32", ("ptr", "%block"), ("ptr", text), ("ptr", values)))


def _malloc(f: FunctionEmitter, args: list[str], results: list[Operand]) -> None:
    memory = f.call("rm_malloc", "ptr", ("i64", f.load("i64", args[0], 8)))
    _give(f, results, "i64", f.emit(f"ptrtoint ptr {memory} to i64"))


def _free(f: FunctionEmitter, args: list[str], results: list[Operand]) -> None:
    f.call("rm_free", "void", ("ptr", f.load("ptr", args[0], 8)))


def _assert_fail(f: FunctionEmitter, args: list[str], results: list[Operand]) -> None:
    message, file, function = (("ptr", f.load("ptr", args[i], 8)) for i in (0, 1, 3))
    line = ("i32", f.load("i32", args[2], 4))
    thread = (("i32", "%tid.x"), ("i32", "%tid.y"), ("i32", "%tid.z"))
    f.call("rm_assert_fail", "void", ("ptr", "%block"), message, file, line, function, *thread)
    f.stop()


BUILTIN = {"vprintf": _printf, "malloc": _malloc, "free": _free, "__assertfail": _assert_fail}
