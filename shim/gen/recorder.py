"""Writes tests/protocol/generated/recorder.c: a driver that notes what its calls are given.

Input: the table; answers as in cases.py."""

from .cases import COUNT, FOLDER, answer_bytes
from .layout import place
from .table import Call, Table

RECORDER_HEAD = """#include <stdio.h>
#include <string.h>

#include "shim/generated/local.h"
#include "shim/generated/symbols.h"
#include "shim/runtime/call.h"

/* A driver that notes what it was called with: behind the same exports as the shim. */
__thread struct rm_tls rm_tls;
static char note[4096];
__attribute__((visibility("default"))) const char *recorded(void);
__attribute__((visibility("default"))) void recorder_clear(void);
const char *recorded(void) { return note; }
void recorder_clear(void) { note[0] = 0; }
void rm_count(uint32_t symbol) { (void)symbol; }
CUresult rm_unsupported(uint32_t symbol) {
  (void)symbol;
  return CUDA_ERROR_NOT_SUPPORTED;
}

static void add(const char *word) { strncat(note, word, sizeof note - strlen(note) - 1); }
static void add_number(unsigned long long value) {
  char word[32];
  snprintf(word, sizeof word, " %llu", value);
  add(word);
}
static void give(void *out, const uint8_t *answer, size_t n) {
  add(" -");
  memcpy(out, answer, n);
}

"""


def outputs(table: Table) -> dict[str, str]:
    return {f"{FOLDER}/recorder.c": recorder(table)}


def recorder(table: Table) -> str:
    forwarded = [records_call(c, table) for c in table.wire if c.is_cuda]
    others = [c.name for c in table.cuda.values() if c.mode in ("local", "manual")]
    rest = "".join(f"CUresult rm_{n}({unnamed(table, n)}) {{ return CUDA_SUCCESS; }}\n" for n in others)
    return f"{RECORDER_HEAD}{''.join(forwarded)}\n{rest}"


def unnamed(table: Table, base: str) -> str:
    return (
        ", ".join(f"__attribute__((unused)) {p.declaration}" for p in table.facts.newest(base).params)
        or "void"
    )


def records_call(call: Call, table: Table) -> str:
    """One call that notes its arguments, and answers the case's values."""
    lines = [f'add("{call.name}");']
    offsets = {p.field.name: p.offset for p in place(call.answer)}
    data = ", ".join(map(str, answer_bytes(call)))
    if call.answer or call.bytes_out:
        lines.append(f"static const uint8_t answer[] = {{{data}}};")
    for a in call.args:
        name = a.param.name
        if a.kind == "out":
            lines.append(f"give({name}, answer + {offsets[name]}, sizeof *{name});")
        elif a.kind == "outs":
            start = sum(f.field.bytes for f in place(call.answer))
            lines.append(f"give({name}, answer + {start}, {COUNT} * sizeof *{name});")
        elif a.kind == "str":
            lines.append(f'add(" "); add({name});')
        elif a.kind == "in":
            lines.append(f'add(" in"); (void){name};')
        else:
            lines.append(f"add_number((unsigned long long){name});")
    arguments = table.facts.newest(call.name).arguments
    body = "".join(f"  {line}\n" for line in lines)
    return f"CUresult rm_{call.name}({arguments}) {{\n{body}  return CUDA_SUCCESS;\n}}\n"
