"""The loops over a block's threads as LLVM IR text: all threads of each row, or those that pass a guard
(guard.py), in pieces inside which its counter doesn't wrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler.guard import Guard, Term
from remora.engine.softgpu.compiler.types import SIZE

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

RANGE = "{i32, i32, i32}"  # first thread, the one after the last, and where the next piece starts
MOST_THREADS = 1024  # of a block
SIGNED = frozenset({"s32", "s64"})
PLANES = """  %count@@ = mul i32 %ny, %nz
  br label %row@@
row@@:
  %n@@ = phi i32 [0, %<from>], [%n1@@, %row.end@@]
  %y@@ = phi i32 [0, %<from>], [%y2@@, %row.end@@]
  %z@@ = phi i32 [0, %<from>], [%z2@@, %row.end@@]
<rows><row>
row.end@@:
  %y1@@ = add nuw nsw i32 %y@@, 1
  %turn@@ = icmp eq i32 %y1@@, %ny
  %y2@@ = select i1 %turn@@, i32 0, i32 %y1@@
  %one@@ = zext i1 %turn@@ to i32
  %z2@@ = add nuw nsw i32 %z@@, %one@@
  %n1@@ = add nuw nsw i32 %n@@, 1
  %more.n@@ = icmp ult i32 %n1@@, %count@@
  br i1 %more.n@@, label %row@@, label %threads.done@@
threads.done@@:"""
ROW = """  br label %thread@@
thread@@:
  %x@@ = phi i32 [0, %row@@], [%x1@@, %thread@@]
  call void @<called>(ptr %block, ptr null, i32 %x@@, i32 %y@@, i32 %z@@<arguments>)
  %x1@@ = add nuw nsw i32 %x@@, 1
  %more.x@@ = icmp slt i32 %x1@@, %nx
  br i1 %more.x@@, label %thread@@, label %row.end@@<meta>"""
PIECES = """  br label %piece@@
piece@@:
  %start@@ = phi i32 [0, %row@@], [%next@@, %piece.end@@]
  %range@@ = call RANGE @range@@(ptr %block, ptr null, i32 %start@@, i32 %y@@, i32 %z@@<arguments>)
  %low@@ = extractvalue RANGE %range@@, 0
  %high@@ = extractvalue RANGE %range@@, 1
  %next@@ = extractvalue RANGE %range@@, 2
  %some@@ = icmp ult i32 %low@@, %high@@
  br i1 %some@@, label %thread@@, label %piece.end@@
thread@@:
  %x@@ = phi i32 [%low@@, %piece@@], [%x1@@, %thread@@]
  call void @<called>(ptr %block, ptr null, i32 %x@@, i32 %y@@, i32 %z@@<arguments>)
  %x1@@ = add nuw nsw i32 %x@@, 1
  %more.x@@ = icmp ult i32 %x1@@, %high@@
  br i1 %more.x@@, label %thread@@, label %piece.end@@<meta>
piece.end@@:
  %more.p@@ = icmp ult i32 %next@@, %nx
  br i1 %more.p@@, label %piece@@, label %row.end@@""".replace("RANGE", RANGE)


def loop(
    mark: str,
    entered_from: str,
    called: str,
    guarded: bool,
    arguments: str = "",
    rows: str = "",
    meta: str = "",
) -> str:
    """The loop over all threads, from block `entered_from` to the label threads.done and the mark. `called`
    runs one thread; where the loop is guarded, range and the mark says which."""
    text = (
        PLANES.replace("<row>", PIECES if guarded else ROW)
        .replace("<called>", called)
        .replace("<meta>", meta)
    )
    text = text.replace("<from>", entered_from).replace("@@", mark)
    return text.replace("<arguments>", arguments).replace("<rows>", rows)


def emit_range(f: FunctionEmitter, guard: Guard) -> None:
    """The body of a range function: which threads of a row pass, from thread %tid.x on, up to where a
    counter would wrap."""
    for x in guard.before:
        f.instruction(x)
    limit = f.emit(f"sub i32 {f.block_field('ntid')}, 1")
    last = f.emit(f"sub i32 {limit}, %tid.x")
    for term in filter(lambda t: t.wraps, guard.terms):
        last = least(f, "i32", last, _room(f, term, last))
    low, high = "0", f.emit(f"add i32 {last}, 1")
    piece = high
    for term in guard.terms:
        if term.order in ("ge", "gt", "eq"):
            low = f.call(
                "llvm.umax.i32", "i32", ("i32", low), ("i32", _passed(f, term, last, term.order == "gt"))
            )
        if term.order in ("lt", "le", "eq"):
            high = least(f, "i32", high, _passed(f, term, last, term.order != "lt"))
    found = "undef"
    for i, value in enumerate((low, high, piece)):
        thread = f.emit(f"add i32 {value}, %tid.x")
        thread = least(f, "i32", thread, str(MOST_THREADS))  # so it is: LLVM sees that little can wrap
        found = f.emit(f"insertvalue {RANGE} {found}, i32 {thread}, {i}")
    f.do(f"ret {RANGE} {found}")


def least(f: FunctionEmitter, kind: str, a: str, b: str) -> str:
    """The unsigned minimum."""
    return f.call(f"llvm.umin.{kind}", kind, (kind, a), (kind, b))


def _room(f: FunctionEmitter, term: Term, last: str) -> str:
    """How many steps, at most `last`, a term's counter can take without wrapping."""
    width = 8 * SIZE[term.kind]
    most = (1 << width - 1) - 1 if term.kind in SIGNED else -1
    room = f.emit(f"sub i{width} {most}, {f.value(term.counter, term.kind)}")
    return f.resize(least(f, f"i{width}", room, f.resize(last, 32, width)), width, 32)


def _passed(f: FunctionEmitter, term: Term, last: str, equal: bool) -> str:
    """How many of the next threads, `last` + 1, have a counter below the bound, or `equal` to it."""
    kind = f"i{8 * SIZE[term.kind]}"
    counter, bound = f.value(term.counter, term.kind), f.value(term.bound, term.kind)
    order = ("s" if term.kind in SIGNED else "u") + ("ge" if equal else "gt")
    some = f.emit(f"icmp {order} {kind} {bound}, {counter}")
    way = f.emit(f"sub {kind} {bound}, {counter}")
    if not equal:
        way = f.emit(f"sub {kind} {way}, 1")
    steps = f.resize(least(f, kind, way, f.resize(last, 32, int(kind[1:]))), int(kind[1:]), 32)
    return f.select(some, "i32", f.emit(f"add i32 {steps}, 1"), "0")
