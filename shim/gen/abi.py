"""Writes shim/generated/cuda_abi.h: the header's types, enums and constants: nothing needs cuda.h to build.

Input: the facts. Also writes generated/include/cuda.h, the name under which cydriver's pxd looks for it."""

import re

from .table import Table

# Of cudaProfiler.h: cydriver declares it by itself, and no call that is answered takes it.
FOREIGN = {"CUoutput_mode"}
GUARD = """#ifndef REMORA_CUDA_ABI_H
#define REMORA_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

"""
FORWARD = """#ifndef __cuda_cuda_h__
#define __cuda_cuda_h__
#include "../cuda_abi.h"

#ifndef __cplusplus /* cydriver names types by their tags alone */
{tags}#endif
#endif
"""


def outputs(table: Table) -> dict[str, str]:
    facts = table.facts
    types = "\n".join(t["c"] for t in facts.types if t["name"] not in FOREIGN)
    macros = "\n".join(f"#define {name} {value}" for name, value in facts.macros.items())
    sizes = "\n".join(
        f'_Static_assert(sizeof({name}) == {size} && _Alignof({name}) == {align}, "{name}");'
        for name, (size, align) in facts.sizes.items()
        if name not in FOREIGN
    )
    checks = f"#ifndef __cplusplus\n{sizes}\n#endif\n"
    text = f"{GUARD}{macros}\n\n{types}\n\n{checks}\n#endif\n"
    return {
        "shim/generated/cuda_abi.h": text,
        "shim/generated/include/cuda.h": FORWARD.format(tags=tags(table)),
    }


def tags(table: Table) -> str:
    """A typedef for every tag."""
    texts = [t["c"] for t in table.facts.types if t["name"] not in FOREIGN]
    found = {(m[1], m[2]) for text in texts for m in re.finditer(r"\b(enum|struct|union) (\w+)", text)}
    return "".join(
        f"typedef {kind} {tag} {tag};\n" for kind, tag in sorted(found) if tag not in table.facts.names
    )
