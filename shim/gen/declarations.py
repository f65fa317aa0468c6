"""From a parsed header to plain data: functions paired with their ABI versions, types, enumerators.

Input: pycparser's tree of the headers that extract.py names. No output.

How base names, ABI versions and symbols meet: the Typedefs headers declare PFN_<base>_v<ABI>[_pt?s] and
cuda.h (with __CUDA_API_VERSION_INTERNAL) declares <base>[_v<n>][_pt?s]. Within one base and one suffix both
are in ascending order of age: the n-th ABI version is the n-th symbol, and their signatures must agree."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from pycparser import c_ast, c_generator

SUFFIX = r"(_ptds|_ptsz)?"
KINDS = {c_ast.Enum: "enum", c_ast.Struct: "struct", c_ast.Union: "union"}
LIBC = re.compile(r"size_t|uintptr_t|u?int\d+_t")
GENERATE = c_generator.CGenerator()


class Mismatch(Exception):
    """The headers contradict each other, or our reading of them."""


# ---- functions


def type_text(node: c_ast.Node) -> str:
    """The type of a parameter, without its name: "const char **"."""
    unnamed = c_ast.Typename(None, [], None, strip_names(node))
    return re.sub(r"\s+", " ", GENERATE.visit(unnamed)).strip()


def strip_names(node: Any) -> Any:
    """A copy of a type tree whose declared name is gone; an array parameter is a pointer."""
    if isinstance(node, c_ast.TypeDecl):
        return c_ast.TypeDecl(None, node.quals, node.align, node.type)
    if isinstance(node, c_ast.PtrDecl):
        return c_ast.PtrDecl(node.quals, strip_names(node.type))
    if isinstance(node, c_ast.ArrayDecl):
        return c_ast.PtrDecl([], strip_names(node.type))
    return node


def params_of(function: c_ast.FuncDecl) -> list[list[str]]:
    """[[type, name], ...] of a function declaration; (void) gives []."""
    if function.args is None:
        return []
    found = [[type_text(p.type), p.name or f"arg{i}"] for i, p in enumerate(function.args.params)]
    return [] if [t for t, _ in found] == ["void"] else found


def functions_of(ast: c_ast.FileAST) -> dict[str, Any]:
    """symbol -> {base, abi, per_thread, returns, params}."""
    aliases = aliases_of(ast)
    symbols, entries = declared(ast), entry_types(ast)
    found: dict[str, Any] = {}
    for key in sorted(set(symbols) | set(entries)):
        if len(symbols[key]) != len(entries[key]):
            raise Mismatch(f"{key}: {len(entries[key])} ABI versions, {len(symbols[key])} symbols")
        for (abi, entry), (_, name, function) in zip(sorted(entries[key]), sorted(symbols[key]), strict=True):
            params = params_of(function)
            if resolved(params, aliases) != resolved(params_of(entry), aliases):
                raise Mismatch(f"{name} is not of the signature that ABI version {abi} has")
            found[name] = {
                "base": key[0],
                "abi": abi,
                "per_thread": key[1].lstrip("_"),
                "returns": type_text(function.type),
                "params": params,
            }
    return found


def declared(ast: c_ast.FileAST) -> dict[tuple[str, str], list[tuple[int, str, Any]]]:
    """(base, suffix) -> [(n of _v<n>, symbol, declaration)]."""
    found: dict[tuple[str, str], list[tuple[int, str, Any]]] = defaultdict(list)
    for node in ast.ext:
        if isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
            match = re.fullmatch(rf"(cu\w+?)(?:_v(\d+))?{SUFFIX}", node.name)
            if match:
                found[match[1], match[3] or ""].append((int(match[2] or 1), node.name, node.type))
    return found


def entry_types(ast: c_ast.FileAST) -> dict[tuple[str, str], list[tuple[int, Any]]]:
    """(base, suffix) -> [(ABI version, function type)]."""
    found: dict[tuple[str, str], list[tuple[int, Any]]] = defaultdict(list)
    for node in typedefs(ast):
        if match := re.fullmatch(rf"PFN_(\w+?)_v(\d+){SUFFIX}", node.name):
            found[match[1], match[3] or ""].append((int(match[2]), node.type.type))
    return found


def typedefs(ast: c_ast.FileAST) -> Iterator[c_ast.Typedef]:
    return (node for node in ast.ext if isinstance(node, c_ast.Typedef))


def aliases_of(ast: c_ast.FileAST) -> dict[str, str]:
    """typedef name -> what it stands for, where that is a name."""
    texts = ((node.name, type_text(node.type)) for node in typedefs(ast))
    return {name: text for name, text in texts if re.fullmatch(r"[\w ]+", text) and name != text}


def resolved(params: list[list[str]], aliases: dict[str, str]) -> list[str]:
    """Types of parameters with all plain typedefs replaced."""

    def replace(match: re.Match[str]) -> str:
        name = match[0]
        while name in aliases:
            name = aliases[name]
        return name

    return [re.sub(r"\w+", replace, text) for text, _ in params]


# ---- types


def types_of(ast: c_ast.FileAST) -> list[dict[str, Any]]:
    """Every type declaration in the header's order, as C text, kind and name; without libc's and PFN_."""
    found = (type_of(node) for node in ast.ext)
    return [t for t in found if t and not LIBC.fullmatch(t["name"]) and not t["name"].startswith("PFN_")]


def type_of(node: Any) -> dict[str, Any] | None:
    inner = node.type
    while isinstance(inner, (c_ast.TypeDecl, c_ast.PtrDecl)):
        inner = inner.type
    kind = KINDS.get(type(inner), "typedef")
    is_typedef = isinstance(node, c_ast.Typedef)
    if kind == "typedef" and not is_typedef:
        return None
    name = node.name or inner.name
    return {"name": name, "kind": kind, "typedef": is_typedef, "c": GENERATE.visit(node) + ";"}


def has_size(type: dict[str, Any]) -> bool:
    """Whether a type is a typedef of a whole struct or union, or of another type."""
    if not type["typedef"]:
        return False
    whole = type["kind"] in ("struct", "union") and "{" in type["c"]
    return whole or bool(re.fullmatch(r"typedef \w+ \w+;", type["c"]))


def enumerators_of(ast: c_ast.FileAST) -> list[str]:
    names: list[str] = []

    class Visit(c_ast.NodeVisitor):
        def visit_Enumerator(self, node: c_ast.Enumerator) -> None:
            names.append(node.name)

    Visit().visit(ast)
    return names
