"""Writes docs/calls.md: which calls of the driver API work, and what each costs.

Input: the facts and the table."""

from .exports import GENERATED
from .table import Call, Table

TEXT = """# Supported calls

A program's driver calls end in one of these ways:

| mode | what it costs |
|---|---|
| local | nothing leaves the program's process |
| post | a record in the ring; the program does not wait, an error is told by the next call that waits |
| call | one round trip |
| slow | one round trip; the driver itself may take long (a helper thread of the engine runs it) |
| manual | written by hand from the internal operations at the end of this page |
| as | what the call it stands for costs |

{supported} of the {names} calls of cuda.h {version} are answered, old ABIs and per-thread variants included.
All {symbols} symbols are exported; the rest return CUDA_ERROR_NOT_SUPPORTED, and `remora doctor` says which
of them a program asked for. How to add one: [adding-a-call.md](adding-a-call.md).

{sections}
## Internal operations

| id | mode | operation | fields | answer |
|---|---|---|---|---|
{operations}
## Not supported yet

{missing}
"""


def outputs(table: Table) -> dict[str, str]:
    facts = table.facts
    answered = set(table.cuda) | GENERATED
    missing = sorted(set(facts.bases) - answered)
    text = TEXT.format(
        supported=len(answered),
        names=len(facts.bases),
        symbols=len(facts.functions),
        version=f"{facts.version // 1000}.{facts.version % 1000 // 10}",
        sections="\n".join(
            section(table, name) for name in dict.fromkeys(c.section for c in table.cuda.values())
        ),
        operations="".join(operation(c) for c in table.wire if not c.is_cuda),
        missing=" ".join(f"`{name}`" for name in missing),
    )
    return {"docs/calls.md": text}


def section(table: Table, name: str) -> str:
    rows = "".join(row(c) for c in table.cuda.values() if c.section == name)
    return f"## {name[:1].upper()}{name[1:]}\n\n| call | mode |\n|---|---|\n{rows}"


def row(call: Call) -> str:
    mode = f"as `{call.alias.base}`" if call.alias else call.mode
    return f"| `{call.name}` | {mode} |\n"


def operation(call: Call) -> str:
    before, _, after = call.notes.partition("=>")
    return f"| {call.id} | {call.mode} | `{call.name}` | {before.strip()} | {after.strip()} |\n"
