"""Writes shim/generated/exports.c and softgpu_exports.c: every symbol of the header, old ABIs too.

Input: the facts, the table, abis.txt, softgpu.txt. An export counts itself and calls the newest ABI of its
base name; what nobody answers says CUDA_ERROR_NOT_SUPPORTED. Also libcuda.map, the version script."""

import re
from collections.abc import Iterable

from .facts import Facts, Function
from .table import Alias, Table

GENERATED = {"cuGetProcAddress", "cuGetErrorName", "cuGetErrorString"}
PER_THREAD = "CU_STREAM_PER_THREAD"
LOCATION = """/* The place that an older ABI names by a device, -1 being the host. */
#define LOCATION(device) \\
  ((CUmemLocation){(device) < 0 ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE, (device)})

"""
SHIM_HEAD = """#include "local.h"
#include "symbols.h"
#include "../runtime/call.h"

#define EXPORT __attribute__((visibility("default")))
/* Its arguments are never looked at, so one body serves every signature. */
#define UNSUPPORTED(symbol) \\
  EXPORT CUresult symbol(void); \\
  CUresult symbol(void) { rm_count(RM_SYM_##symbol); return rm_unsupported(RM_SYM_##symbol); }

"""
SOFT_HEAD = """#include <stdbool.h>

#include "softgpu_local.h"

#define EXPORT __attribute__((visibility("default")))
/* Its arguments are never looked at, so one body serves every signature. */
#define UNSUPPORTED(symbol) \\
  EXPORT CUresult symbol(void); \\
  CUresult symbol(void) { return CUDA_ERROR_NOT_SUPPORTED; }

"""


def outputs(table: Table) -> dict[str, str]:
    facts = table.facts
    names = "".join(f"    {symbol};\n" for symbol in facts.functions)
    shim = [export(table, f, "rm", set(table.cuda) | GENERATED) for f in facts.functions.values()]
    soft = [export(table, f, "sg", table.softgpu | GENERATED) for f in facts.functions.values()]
    return {
        "shim/generated/exports.c": SHIM_HEAD + LOCATION + "\n".join(shim),
        "shim/generated/softgpu_exports.c": SOFT_HEAD + LOCATION + "\n".join(soft),
        "shim/generated/libcuda.map": f"{{\n  global:\n{names}  local:\n    *;\n}};\n",
    }


def same_signature(facts: Facts, a: Function, b: Function) -> bool:
    return [facts.canonical(p.type) for p in a.params] == [facts.canonical(p.type) for p in b.params]


def target(table: Table, f: Function, answered: Iterable[str]) -> Alias | None:
    """The newest ABI's call that answers a symbol, in terms of the symbol's arguments; None: nobody does."""
    alias = table.abis.get(f.symbol)
    if alias is None and same_signature(table.facts, f, table.facts.newest(f.base)):
        alias = Alias(f.base, tuple(p.name for p in f.params))
    if alias is None or alias.base not in answered:
        return None
    if (call := table.cuda.get(alias.base)) and call.alias:
        newest = table.facts.newest(alias.base)
        given = dict(zip((p.name for p in newest.params), alias.arguments, strict=True))
        return Alias(call.alias.base, tuple(given.get(a, a) for a in call.alias.arguments))
    return alias


def export(table: Table, f: Function, prefix: str, answered: set[str]) -> str:
    """The C text of one exported symbol."""
    alias = own(table, f, answered) if prefix == "sg" else target(table, f, answered)
    if alias is None:
        return f"UNSUPPORTED({f.symbol})\n"
    count = f"  rm_count(RM_SYM_{f.symbol});\n" if prefix == "rm" else ""
    head = f"EXPORT CUresult {f.symbol}({f.arguments});\nCUresult {f.symbol}({f.arguments}) {{\n{count}"
    return head + "".join(f"  {line}\n" for line in body(f, alias, prefix)) + "}\n"


def own(table: Table, f: Function, answered: set[str]) -> Alias | None:
    """As target, for a library that answers every base name of its list by itself, `as` lines too."""
    alias = table.abis.get(f.symbol)
    if alias is None and same_signature(table.facts, f, table.facts.newest(f.base)):
        alias = Alias(f.base, tuple(p.name for p in f.params))
    return alias if alias and alias.base in answered else None


def body(f: Function, alias: Alias, prefix: str) -> list[str]:
    """A per-thread variant names its default stream in the argument if there is one, else around the call."""
    streams = {p.name for p in f.params if p.type == "CUstream"} if f.per_thread else set()
    default = PER_THREAD if f.per_thread else "NULL"
    words = [
        f"{a} ? {a} : {PER_THREAD}" if a in streams else default if a == "STREAM" else a
        for a in alias.arguments
    ]
    call = f"{prefix}_{alias.base}({', '.join(words)})"
    used = set(re.findall(r"\w+", call))
    unused = [f"(void){p.name};" for p in f.params if p.name not in used]
    if not f.per_thread or streams or "STREAM" in alias.arguments:
        return [*unused, f"return {call};"]
    flag = "rm_tls.per_thread_stream" if prefix == "rm" else "sg_tls_per_thread"
    return [*unused, f"{flag} = true;", f"CUresult result = {call};", f"{flag} = false;", "return result;"]
