"""Reads the facts of CUDA's public headers into shim/api/cuda_<version>.json.

Run by hand when a new header version is taken up:
    python -m remora.shim.gen.extract /usr/local/cuda/include
Inputs: cuda.h, cudaProfiler.h and their Typedefs headers, a C preprocessor (gcc) and compiler, pycparser.
Output: names, values, types, sizes: what a program's binary interface is made of, and nothing else."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pycparser import c_parser

from . import declarations

API = Path(__file__).resolve().parent.parent / "api"
HEADERS = ("cuda.h", "cudaTypedefs.h", "cudaProfiler.h", "cudaProfilerTypedefs.h")
INTERNAL = "#define __CUDA_API_VERSION_INTERNAL\n"
FAKE_LIBC = {
    "stdlib.h": "typedef unsigned long size_t;\n",
    "stdint.h": "typedef unsigned char uint8_t; typedef unsigned short uint16_t;\n"
    "typedef unsigned int uint32_t; typedef unsigned long uint64_t; typedef unsigned long uintptr_t;\n"
    "typedef int int32_t; typedef long int64_t;\n",
}


def including(headers: tuple[str, ...]) -> str:
    return INTERNAL + "".join(f"#include <{header}>\n" for header in headers)


def tool(*command: str, source: str = "") -> str:
    """What a command prints, given source on its standard input."""
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def preprocess(include: Path, *options: str) -> str:
    """All headers through the C preprocessor, with a libc of a few lines: CUDA's names remain."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FAKE_LIBC.items():
            Path(folder, name).write_text(text)
        command = ["gcc", "-E", "-P", "-nostdinc", f"-I{folder}", f"-I{include}", "-D__attribute__(x)="]
        return tool(*command, *options, "-", source=including(HEADERS))


def probe(include: Path, expressions: list[str]) -> list[int]:
    """What the compiler says that each constant expression is."""
    rows = "".join(f'printf("%lld\\n", (long long)({e}));\n' for e in expressions)
    source = f"{including(('stdio.h', 'cuda.h', 'cudaProfiler.h'))}int main(void) {{ {rows} return 0; }}"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/probe"
        tool("gcc", f"-I{include}", "-w", "-xc", "-", "-o", program, source=source)
        return [int(line) for line in tool(program).split()]


def sizes_of(include: Path, types: list[dict[str, Any]]) -> dict[str, list[int]]:
    """name -> [size, alignment] in bytes."""
    names = [t["name"] for t in types if declarations.has_size(t)]
    values = probe(include, [f"{what}({n})" for n in names for what in ("sizeof", "_Alignof")])
    return {name: values[2 * i : 2 * i + 2] for i, name in enumerate(names)}


def macros_of(include: Path) -> dict[str, str]:
    """Constants that programs see: object-like CU_ and CUDA_ macros with a value."""
    lines = preprocess(include, "-dM").splitlines()
    found = (re.fullmatch(r"#define ((?:CU|CUDA)_\w+) (.+)", line) for line in lines)
    return {m[1]: re.sub(r"\s+", " ", m[2]) for m in sorted((m for m in found if m), key=lambda m: m[1])}


def extract(include: Path) -> dict[str, Any]:
    """All facts of the headers in include."""
    ast = c_parser.CParser().parse(preprocess(include))
    types, macros = declarations.types_of(ast), macros_of(include)
    enumerators = declarations.enumerators_of(ast)
    return {
        "version": int(macros["CUDA_VERSION"]),
        "functions": declarations.functions_of(ast),
        "types": types,
        "sizes": sizes_of(include, types),
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
