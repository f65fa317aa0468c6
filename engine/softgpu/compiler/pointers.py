"""Registers that always hold a pointer.

Keeping them as LLVM pointers shows the optimiser `getelementptr` where integers would hide the address
arithmetic; it changes no result.
"""

from __future__ import annotations

from remora.engine.softgpu.compiler.syntax import Function, Instr, Mem, Operand, Pair, Reg, Vec
from remora.engine.softgpu.compiler.types import SIZE

NOT_GLOBAL = frozenset({"shared", "local", "const", "param"})
NO_RESULT = frozenset({"st", "red", "bra", "call", "bar", "barrier", "cp", "brx", "ret", "exit", "trap"})


def _name(operand: Operand) -> str:
    return operand.name if isinstance(operand, Reg) else ""


def _definitions(function: Function) -> dict[str, list[Instr | None]]:
    """The instructions that write each register; None stands for one that can't yield a pointer."""
    found: dict[str, list[Instr | None]] = {}
    for x in function.instructions():
        if x.name == "call" or not x.args:
            for arg in x.args[:1]:
                for item in getattr(arg, "items", []):
                    found.setdefault(_name(item), []).append(None)
            continue
        if x.name in NO_RESULT:
            continue
        match x.args[0]:
            case Reg(name):
                found.setdefault(name, []).append(x)
            case Vec(items):
                for item in items:
                    found.setdefault(_name(item), []).append(None)
            case Pair(first, second):
                for item in (first, second):
                    found.setdefault(_name(item), []).append(None)
    return found


def _bases(function: Function) -> set[str]:
    """Registers used as a global or generic address."""
    found = set()
    for x in function.instructions():
        if x.name in ("ld", "st", "atom", "red") and not any(
            p.split("::")[0] in ("shared", "local", "param") for p in x.parts
        ):
            found |= {_name(a.base) for a in x.args if isinstance(a, Mem)}
        if x.name == "cvta" and not any(p.split("::")[0] in ("shared", "local") for p in x.parts):
            found |= {_name(a) for a in x.args[1:2]}
    return found


def _yields_pointer(x: Instr, register: str, pointers: set[str], bases: set[str], most: int) -> bool:
    """`most`: how many operands of an addition may be pointers."""
    sources = [_name(a) in pointers for a in x.args[1:]]
    match x.name:
        case "cvta":
            return "to" in x.parts and not any(
                p.split("::")[0] in ("shared", "local", "const", "param") for p in x.parts
            )
        case "mov":
            return sources == [True]
        case "add":
            return (
                x.parts[-1] in ("s64", "u64", "b64")
                and "cc" not in x.parts
                and 1 <= sources.count(True) <= most
            )
        case "sub":
            return (
                x.parts[-1] in ("s64", "u64", "b64")
                and "cc" not in x.parts
                and sources in ([True, False], [True, most == 2])
            )
        case "selp":
            return sources[:2] == [True, True]
        case "ld":
            return "param" in x.parts and x.parts[-1] in ("u64", "b64") and register in bases
    return False


def pointer_registers(function: Function) -> frozenset[str]:
    """The greatest set of 64-bit registers whose every definition yields a pointer."""
    definitions, bases = _definitions(function), _bases(function)
    parameters = {p.name for p in function.params + function.rets}
    pointers = {
        r for r in definitions
        if r not in parameters and function.regs.get(r, "pred") != "f64"
        and SIZE[function.regs.get(r, "pred")] == 8
    }  # fmt: skip
    for most in (2, 1):  # 2: until it is settled which of them are no pointers
        while lost := {
            r for r in pointers
            if not all(x and _yields_pointer(x, r, pointers, bases, most) for x in definitions[r])
        }:  # fmt: skip
            pointers -= lost
    return frozenset(pointers)
