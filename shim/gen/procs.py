"""Writes shim/generated/procs.c and softgpu_procs.c: cuGetProcAddress over every base name, ABI and variant.

Input: the facts. Rules (documentation of cuGetProcAddress): the newest ABI that is not newer than the version
asked for; with the per-thread flag a per-thread variant if there is one, else the legacy one. A name that is
declared but not supported gives its export, which says so when called."""

from .facts import Function
from .table import Table

# Runtimes ask for these with the version before the one that the header gives them.
SINCE = {12090: 12080}
SINCE_PREFIX = "cuLogs"
TEMPLATE = """#include <string.h>

#include "{header}"

typedef void (*proc)(void);
typedef struct variant {{
  int abi;
  int per_thread;
  proc entry;
}} variant;
typedef struct base {{
  const char *name;
  int first, count; /* of variants, newest ABI first */
}} base;

{externs}
static const variant variants[] = {{
{variants}}};

static const base bases[] = {{ /* by name */
{bases}}};

static const base *find(const char *name) {{
  size_t low = 0, high = sizeof bases / sizeof *bases;
  while (low < high) {{
    size_t middle = (low + high) / 2;
    int order = strcmp(bases[middle].name, name);
    if (order == 0) return &bases[middle];
    if (order < 0) low = middle + 1;
    else high = middle;
  }}
  return NULL;
}}

static proc pick(const base *b, int version, int per_thread) {{
  for (int i = b->first; i < b->first + b->count; i++)
    if (variants[i].abi <= version && variants[i].per_thread == per_thread) return variants[i].entry;
  return NULL;
}}

static proc choose(const base *b, int version, cuuint64_t flags) {{
  proc found = NULL;
  if (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) found = pick(b, version, 1);
  return found ? found : pick(b, version, 0);
}}

CUresult {prefix}_cuGetProcAddress(const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags,
                                 CUdriverProcAddressQueryResult *symbolStatus) {{
  if (!symbol || !pfn) return CUDA_ERROR_INVALID_VALUE;
  if (flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) return CUDA_ERROR_INVALID_VALUE;
  const base *b = find(symbol);
  proc found = b ? choose(b, cudaVersion, flags) : NULL;
  memcpy(pfn, &found, sizeof found);
  if (symbolStatus)
    *symbolStatus = found ? CU_GET_PROC_ADDRESS_SUCCESS
                    : b   ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                          : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return found ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}}
"""


def outputs(table: Table) -> dict[str, str]:
    return {
        "shim/generated/procs.c": text(table, "local.h", "rm"),
        "shim/generated/softgpu_procs.c": text(table, "softgpu_local.h", "sg"),
    }


def text(table: Table, header: str, prefix: str) -> str:
    symbols = [f for name in sorted(table.facts.bases) for f in table.facts.bases[name]]
    bases, first = [], 0
    for name in sorted(table.facts.bases):
        count = len(table.facts.bases[name])
        bases.append(f'    {{"{name}", {first}, {count}}},\n')
        first += count
    return TEMPLATE.format(
        header=header,
        prefix=prefix,
        externs="".join(f"extern void {f.symbol}(void);\n" for f in symbols),
        variants="".join(f"    {{{since(f)}, {int(bool(f.per_thread))}, {f.symbol}}},\n" for f in symbols),
        bases="".join(bases),
    )


def since(f: Function) -> int:
    """The oldest version that gets this ABI."""
    return SINCE.get(f.abi, f.abi) if f.base.startswith(SINCE_PREFIX) else f.abi
