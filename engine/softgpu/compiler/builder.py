"""LLVM IR text for one function: temporaries, labels, stack slots, intrinsics. Knows nothing of PTX."""

from __future__ import annotations

Typed = tuple[str, str]  # (LLVM type, value)


class Builder:
    """Grows one function body. A value is the text of an LLVM operand."""

    def __init__(self, declarations: dict[str, str]) -> None:
        self.declarations = declarations  # shared by the functions of one IR module
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.count = 0
        self.terminated = False

    def emit(self, expression: str) -> str:
        """Append an instruction with a result; returns its name."""
        self.count += 1
        name = f"%t{self.count}"
        self.lines.append(f"  {name} = {expression}")
        return name

    def do(self, statement: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + statement)

    def new_label(self, hint: str = "l") -> str:
        """A fresh label."""
        self.count += 1
        return f"{hint}{self.count}"

    def place(self, label: str) -> None:
        """Start the block `label`, falling through from the one before."""
        if not self.terminated:
            self.do(f"br label %{label}")
        self.lines.append(label + ":")
        self.terminated = False

    def place_after(self, label: str) -> None:
        """Start the block `label` after one that has ended with its own jump."""
        self.lines.append(label + ":")
        self.terminated = False

    def branch(self, label: str) -> None:
        """Jump, unless the block has ended already."""
        if not self.terminated:
            self.do(f"br label %{label}")
            self.terminated = True

    def branch_if(self, condition: str, yes: str, no: str) -> None:
        """End the block with a conditional jump."""
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")
        self.terminated = True

    def stop(self) -> None:
        """The end is never reached (after a call that doesn't return)."""
        self.do("unreachable")
        self.terminated = True

    def alloca(self, ty: str, align: int = 0) -> str:
        """A stack slot in the entry block."""
        self.count += 1
        name = f"%a{self.count}"
        self.allocas.append(f"  {name} = alloca {ty}" + (f", align {align}" if align else ""))
        return name

    def call(self, name: str, result: str, *args: Typed) -> str:
        """Call an external function or intrinsic, declaring it; returns "" for void."""
        self.declarations[name] = f"{result} @{name}({', '.join(t for t, _ in args)})"
        text = f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in args)})"
        if result == "void":
            self.do(text)
            return ""
        return self.emit(text)

    def cast(self, value: str, source: str, target: str) -> str:
        """Reinterpret bits."""
        return value if source == target else self.emit(f"bitcast {source} {value} to {target}")

    def resize(self, value: str, source: int, target: int, signed: bool = False) -> str:
        """An integer of `source` bits as one of `target` bits."""
        if source == target:
            return value
        if source > target:
            return self.emit(f"trunc i{source} {value} to i{target}")
        return self.emit(f"{'sext' if signed else 'zext'} i{source} {value} to i{target}")

    def field(self, base: str, offset: int, known: str = "") -> str:
        """base + offset bytes; `known`: flags of the addition."""
        return self.emit(f"getelementptr {known} i8, ptr {base}, i64 {offset}") if offset else base

    def load(self, ty: str, pointer: str, align: int, invariant: bool = False) -> str:
        """A load with a known alignment."""
        return self.emit(
            f"load {ty}, ptr {pointer}, align {align}" + (", !invariant.load !0" if invariant else "")
        )

    def select(self, condition: str, ty: str, yes: str, no: str) -> str:
        """condition ? yes : no"""
        return self.emit(f"select i1 {condition}, {ty} {yes}, {ty} {no}")
