"""Writes shim/generated/errors.c and softgpu_errors.c: cuGetErrorName and cuGetErrorString.

Inputs: the facts (names and values), shim/api/errors.txt (texts)."""

import re

from .facts import Facts
from .table import Table, TableError

TEMPLATE = """#include <stddef.h>

#include "{header}"

static const struct {{
  CUresult code;
  const char *name, *text;
}} errors[] = {{ /* by code */
{rows}}};

static int find(CUresult code) {{
  int low = 0, high = (int)(sizeof errors / sizeof *errors) - 1;
  while (low < high) {{
    int middle = (low + high) / 2;
    if (errors[middle].code < code) low = middle + 1;
    else high = middle;
  }}
  return errors[low].code == code ? low : -1;
}}

CUresult {prefix}_cuGetErrorName(CUresult error, const char **pStr) {{
  if (!pStr) return CUDA_ERROR_INVALID_VALUE;
  int i = find(error);
  *pStr = i < 0 ? NULL : errors[i].name;
  return i < 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}}

CUresult {prefix}_cuGetErrorString(CUresult error, const char **pStr) {{
  if (!pStr) return CUDA_ERROR_INVALID_VALUE;
  int i = find(error);
  *pStr = i < 0 ? NULL : errors[i].text;
  return i < 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}}
"""


def outputs(table: Table) -> dict[str, str]:
    names = sorted(results(table.facts), key=lambda n: table.facts.enumerators[n])
    if missing := [n for n in names if n not in table.errors]:
        raise TableError(f"errors.txt: no text for {', '.join(missing)}")
    rows = "".join(f'    {{{n}, "{n}", "{table.errors[n]}"}},\n' for n in names)
    return {
        "shim/generated/errors.c": TEMPLATE.format(header="local.h", prefix="rm", rows=rows),
        "shim/generated/softgpu_errors.c": TEMPLATE.format(header="softgpu_local.h", prefix="sg", rows=rows),
    }


def results(facts: Facts) -> list[str]:
    """Names of CUresult."""
    text = next(t["c"] for t in facts.types if t["name"] == "CUresult")
    return re.findall(r"(\w+) =", text)
