"""Writes shim/generated/local.h and softgpu_local.h: prototypes of what the exports call.

Input: the facts, the table, softgpu.txt."""

from .exports import GENERATED
from .facts import Facts
from .table import Table


def outputs(table: Table) -> dict[str, str]:
    return {"shim/generated/local.h": shim(table), "shim/generated/softgpu_local.h": softgpu(table)}


def prototypes(facts: Facts, prefix: str, names: list[str]) -> str:
    return "".join(f"CUresult {prefix}_{n}({facts.newest(n).arguments});\n" for n in names)


def shim(table: Table) -> str:
    def of(*modes: str) -> str:
        return prototypes(table.facts, "rm", [c.name for c in table.cuda.values() if c.mode in modes])

    return f"""#ifndef REMORA_LOCAL_H
#define REMORA_LOCAL_H

#include "cuda_abi.h"

/* Hand-written in shim/runtime: answered here ... */
{of("local")}
/* ... or through internal operations. */
{of("manual")}
/* Generated: stubs.c ... */
{of("post", "call", "slow")}
/* ... procs.c and errors.c. */
{prototypes(table.facts, "rm", sorted(GENERATED))}
#endif
"""


def softgpu(table: Table) -> str:
    return f"""#ifndef REMORA_SOFTGPU_LOCAL_H
#define REMORA_SOFTGPU_LOCAL_H

#include <stdbool.h>

#include "cuda_abi.h"

/* True inside a per-thread export that has no stream argument: stream 0 is the per-thread one. */
extern __thread bool sg_tls_per_thread;

/* Hand-written in engine/softgpu. */
{prototypes(table.facts, "sg", sorted(table.softgpu - GENERATED))}
/* Generated: softgpu_procs.c and softgpu_errors.c. */
{prototypes(table.facts, "sg", sorted(GENERATED))}
#endif
"""
