"""Reads the facts of CUDA's public headers into shim/api/cuda_<version>.json.

Run by hand when a new header version is taken up:
    python -m remora.shim.gen.extract /usr/local/cuda/include
Inputs: cuda.h, cudaProfiler.h and their Typedefs headers, a C preprocessor (gcc) and compiler.
Output: names, values, types, sizes: what a program's binary interface is made of, and nothing else.

How base names, ABI versions and symbols meet: the Typedefs headers declare PFN_<base>_v<ABI>[_pt?s]
and cuda.h (with __CUDA_API_VERSION_INTERNAL) declares <base>[_v<n>][_pt?s]; within one base and one
suffix both are in ascending order of age, so the n-th ABI version is the n-th symbol."""

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from pycparser import c_ast, c_generator, c_parser

API = Path(__file__).resolve().parent.parent / "api"
HEADERS = ("cuda.h", "cudaTypedefs.h", "cudaProfiler.h", "cudaProfilerTypedefs.h")
SUFFIX = r"(_ptds|_ptsz)?"
FAKE_LIBC = {
    "stdlib.h": "typedef unsigned long size_t;\n",
    "stdint.h": "typedef unsigned char uint8_t; typedef unsigned short uint16_t;\n"
    "typedef unsigned int uint32_t; typedef unsigned long uint64_t; typedef unsigned long uintptr_t;\n"
    "typedef int int32_t; typedef long int64_t;\n",
}
GENERATE = c_generator.CGenerator()


def preprocess(include: Path, *options: str) -> str:
    """All headers through the C preprocessor, with a libc of six lines, so that only CUDA's names remain."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FAKE_LIBC.items():
            Path(folder, name).write_text(text)
        source = "#define __CUDA_API_VERSION_INTERNAL\n" + "".join(f"#include <{h}>\n" for h in HEADERS)
        command = [
            "gcc",
            "-E",
            "-P",
            "-nostdinc",
            f"-I{folder}",
            f"-I{include}",
            "-D__attribute__(x)=",
            *options,
            "-",
        ]
        return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def type_text(node: c_ast.Node) -> str:
    """The type of a parameter, without its name: "const char **"."""
    unnamed = c_ast.Typename(None, [], None, strip_names(node))
    return re.sub(r"\s+", " ", GENERATE.visit(unnamed)).strip()


def strip_names(node: Any) -> Any:
    """A copy of a type tree whose declared name is gone."""
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
    """symbol -> {base, abi, per_thread, returns, params}, paired as the module's docstring says."""
    declared = {
        d.name: d.type for d in ast.ext if isinstance(d, c_ast.Decl) and isinstance(d.type, c_ast.FuncDecl)
    }
    abis: dict[tuple[str, str], list[int]] = defaultdict(list)
    symbols: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for node in ast.ext:
        if match := isinstance(node, c_ast.Typedef) and re.fullmatch(
            rf"PFN_(\w+?)_v(\d+){SUFFIX}", node.name
        ):
            abis[match[1], match[3] or ""].append(int(match[2]))
    for name in declared:
        if match := re.fullmatch(rf"(cu\w+?)(?:_v(\d+))?{SUFFIX}", name):
            symbols[match[1], match[3] or ""].append((int(match[2] or 1), name))
    found = {}
    for key in sorted(set(abis) | set(symbols)):
        if len(abis[key]) != len(symbols[key]):
            raise SystemExit(f"{key}: ABI versions {abis[key]} do not match symbols {symbols[key]}")
        for abi, (_, name) in zip(sorted(abis[key]), sorted(symbols[key]), strict=True):
            found[name] = {
                "base": key[0],
                "abi": abi,
                "per_thread": key[1].lstrip("_"),
                "returns": type_text(declared[name].type),
                "params": params_of(declared[name]),
            }
    return found


def types_of(ast: c_ast.FileAST) -> list[dict[str, Any]]:
    """Every type declaration in the header's order, as C text, kind and name."""
    found = []
    for node in ast.ext:
        if isinstance(node, c_ast.Typedef) and node.name.startswith("PFN_"):
            continue
        inner = node.type
        while isinstance(inner, (c_ast.TypeDecl, c_ast.PtrDecl)):
            inner = inner.type
        kind = {c_ast.Enum: "enum", c_ast.Struct: "struct", c_ast.Union: "union"}.get(type(inner), "typedef")
        if isinstance(node, c_ast.Decl) and kind == "typedef":
            continue
        name = node.name or inner.name
        if name not in ("size_t", "uintptr_t") and not re.fullmatch(r"u?int\d+_t", name):
            found.append(
                {
                    "name": name,
                    "kind": kind,
                    "typedef": isinstance(node, c_ast.Typedef),
                    "c": GENERATE.visit(node) + ";",
                }
            )
    return found


def enumerators_of(ast: c_ast.FileAST) -> list[str]:
    names: list[str] = []

    class Visit(c_ast.NodeVisitor):
        def visit_Enumerator(self, node: c_ast.Enumerator) -> None:
            names.append(node.name)

    Visit().visit(ast)
    return names


def probe(include: Path, expressions: list[str]) -> list[int]:
    """What the compiler says that each constant expression is."""
    rows = "".join(f'printf("%lld\\n", (long long)({e}));\n' for e in expressions)
    headers = "#include <stdio.h>\n#include <cuda.h>\n#include <cudaProfiler.h>\n"
    source = f"#define __CUDA_API_VERSION_INTERNAL\n{headers}int main(void){{{rows}return 0;}}"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "probe")
        subprocess.run(
            ["gcc", f"-I{include}", "-w", "-xc", "-", "-o", program], input=source, text=True, check=True
        )
        return [
            int(x)
            for x in subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
        ]


def macros_of(include: Path) -> dict[str, str]:
    """Constants that programs see: object-like CU_ and CUDA_ macros with a value."""
    lines = preprocess(include, "-dM").splitlines()
    found = (re.fullmatch(r"#define ((?:CU|CUDA)_\w+) (.+)", line) for line in lines)
    return {m[1]: re.sub(r"\s+", " ", m[2]) for m in sorted((m for m in found if m), key=lambda m: m[1])}


def extract(include: Path) -> dict[str, Any]:
    """All facts of the headers in include."""
    ast = c_parser.CParser().parse(preprocess(include))
    types = types_of(ast)
    sized = [t for t in types if t["typedef"] and "void" not in t["c"].split(t["name"])[0].split()[-1:]]
    sized = [
        t
        for t in sized
        if (t["kind"] in ("struct", "union") and "{" in t["c"])
        or (t["kind"] == "typedef" and re.fullmatch(r"typedef \w+ \w+;", t["c"]))
    ]
    names = [t["name"] for t in sized]
    values = probe(include, [f"sizeof({n})" for n in names] + [f"_Alignof({n})" for n in names])
    sizes = dict(zip(names, values[: len(names)], strict=True))
    aligns = dict(zip(names, values[len(names) :], strict=True))
    enumerators = enumerators_of(ast)
    macros = macros_of(include)
    return {
        "version": int(macros["CUDA_VERSION"]),
        "functions": functions_of(ast),
        "types": types,
        "sizes": {n: [sizes[n], aligns[n]] for n in names},
        "enumerators": dict(zip(enumerators, probe(include, enumerators), strict=True)),
        "macros": macros,
    }


def main() -> None:
    """Writes shim/api/cuda_<version>.json from the include folder named on the command line."""
    facts = extract(Path(sys.argv[1]))
    path = API / f"cuda_{facts['version']}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    bases = {f["base"] for f in facts["functions"].values()}
    print(f"{path}: {len(facts['functions'])} symbols, {len(bases)} names, {len(facts['types'])} types")


if __name__ == "__main__":
    main()
