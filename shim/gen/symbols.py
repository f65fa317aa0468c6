"""Writes shim/generated/symbols.h, symbols.c and symbols.py: every exported symbol's number, name and mode.

Input: the facts and the table. The number is what rm_count and rm_unsupported are called with."""

from .exports import GENERATED, target
from .table import Table


def outputs(table: Table) -> dict[str, str]:
    names = list(table.facts.functions)
    numbers = "".join(f"  RM_SYM_{n} = {i},\n" for i, n in enumerate(names))
    strings = "".join(f'    "{n}",\n' for n in names)
    rows = "".join(f'    ("{n}", "{mode(table, n)}"),\n' for n in names)
    return {
        "shim/generated/symbols.h": "#ifndef REMORA_SYMBOLS_H\n#define REMORA_SYMBOLS_H\n\nenum rm_symbol {\n"
        f"{numbers}  RM_SYMBOLS = {len(names)},\n}};\n#define RM_SYMBOL_COUNT RM_SYMBOLS\n\n"
        "extern const char *const rm_symbol_names[RM_SYMBOLS];\n\n#endif\n",
        "shim/generated/symbols.c": '#include "symbols.h"\n\n'
        "const char *const rm_symbol_names[RM_SYMBOLS] = {\n"
        f"{strings}}};\n",
        "shim/generated/symbols.py": '"""Exported symbols and their modes, by number."""\n\n'
        f"SYMBOLS: tuple[tuple[str, str], ...] = (\n{rows})\n",
    }


def mode(table: Table, symbol: str) -> str:
    """The mode of the call that answers a symbol, "none" if it is not supported."""
    alias = target(table, table.facts.functions[symbol], set(table.cuda) | GENERATED)
    if alias is None:
        return "none"
    return "local" if alias.base in GENERATED else table.cuda[alias.base].mode
