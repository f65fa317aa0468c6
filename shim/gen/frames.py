"""Writes tests/protocol/generated/frames.c: calls every stub with known values.

It prints what lands in the ring. Input: the table; values as in cases.py."""

from typing import Any

from .cases import COUNT, FOLDER, answer_bytes, raw, values
from .table import Arg, Call, Table

FRAMES_HEAD = """#include <stdio.h>
#include <string.h>

#include "shim/generated/local.h"
#include "shim/generated/records.h"
#include "shim/runtime/call.h"

/* A runtime that prints the record instead of sending it, and answers what the case says. */
static uint64_t ring[16384];
static uint32_t body_bytes;
static uint16_t op;
static const uint8_t *reply;

static void print(const char *kind) {
  printf("%s %u ", kind, op);
  for (uint32_t i = 0; i < body_bytes; i++) printf("%02x", ((uint8_t *)ring)[i]);
  printf("\\n");
}

CUresult rm_call_begin(rm_call *call, uint16_t number, uint32_t size) {
  memset(ring, 0, sizeof ring);
  call->body = ring;
  op = number;
  body_bytes = size;
  return CUDA_SUCCESS;
}

CUresult rm_call_post(rm_call *call) {
  (void)call;
  print("post");
  return CUDA_SUCCESS;
}

CUresult rm_call_wait(rm_call *call, void *answer, uint32_t bytes) {
  (void)call;
  print("wait");
  if (bytes) memcpy(answer, reply, bytes);
  return CUDA_SUCCESS;
}

CUresult rm_call_wait_bytes(rm_call *call, void *answer, uint32_t bytes, void *buf, uint32_t cap,
                            uint32_t *got) {
  rm_call_wait(call, answer, bytes);
  memcpy(buf, reply + bytes, cap);
  *got = cap;
  return CUDA_SUCCESS;
}

#define ID(function, type) \\
  CUresult function(type handle, uint64_t *id) { \\
    *id = (uint64_t)handle; \\
    return CUDA_SUCCESS; \\
  }
ID(rm_id_stream, CUstream)
ID(rm_id_event, CUevent)
ID(rm_id_module, CUmodule)
ID(rm_id_library, CUlibrary)
ID(rm_id_kernel, const void *)
ID(rm_id_context, CUcontext)

static void print_out(const char *name, const void *value, size_t n) {
  printf("out %u %s ", op, name);
  for (size_t i = 0; i < n; i++) printf("%02x", ((const uint8_t *)value)[i]);
  printf("\\n");
}

static void print_operation(uint16_t number, const void *body, uint32_t n) {
  op = number;
  body_bytes = n;
  memset(ring, 0, sizeof ring);
  memcpy(ring, body, n);
  print("operation");
}

"""


def outputs(table: Table) -> dict[str, str]:
    return {f"{FOLDER}/frames.c": frames(table)}


def frames(table: Table) -> str:
    bodies = [frame(c) if c.is_cuda else operation(c) for c in table.wire]
    calls = "".join(f"  frame_{c.name}();\n" for c in table.wire if c.is_cuda or c.request)
    return FRAMES_HEAD + "\n".join(b for b in bodies if b) + f"\nint main(void) {{\n{calls}  return 0;\n}}\n"


def frame(call: Call) -> str:
    """Calls one stub with the case's values and prints what came out."""
    request, answer = values(call, call.request), answer_bytes(call)
    lines = [f"static const uint8_t answer[] = {{{', '.join(map(str, answer)) or '0'}}};", "reply = answer;"]
    for a in call.args:
        lines += declared(a, call)
    lines.append(f"rm_{call.name}({', '.join(passed(a, request) for a in call.args)});")
    lines += [
        f'print_out("{a.param.name}", &{a.param.name}, sizeof {a.param.name});'
        for a in call.args
        if a.kind == "out"
    ]
    lines += [
        f'print_out("{a.param.name}", {a.param.name}, sizeof {a.param.name});'
        for a in call.args
        if a.kind == "outs"
    ]
    return f"static void frame_{call.name}(void) {{\n{''.join(f'  {line}{chr(10)}' for line in lines)}}}\n"


def declared(arg: Arg, call: Call) -> list[str]:
    name = arg.param.name
    if arg.kind == "out":
        return [f"{arg.element} {name};"]
    if arg.kind == "outs":
        return [f"{arg.element} {name}[{COUNT}];"]
    if arg.kind == "in":
        data = ", ".join(map(str, raw(arg, call)))
        return [f"static const _Alignas(8) uint8_t {name}_raw[] = {{{data}}};"]
    return []


def passed(arg: Arg, request: dict[str, Any]) -> str:
    name = arg.param.name
    if arg.kind == "out":
        return f"&{name}"
    if arg.kind == "outs":
        return name
    if arg.kind == "in":
        return f"({arg.param.type}){name}_raw"
    if arg.kind == "str":
        return f'"text of {name}"'
    return f"({arg.param.type}){request[name]:#x}{'ull' if arg.wire == 'u64' else ''}"


def operation(call: Call) -> str:
    """Fills one operation's struct by its field names, as the runtime does."""
    if not call.request:
        return ""
    lines = [f"rm_q_{call.name} q = {{0}};"]
    for name, value in values(call, call.request).items():
        for i, one in enumerate(value if isinstance(value, list) else [value]):
            target = f"q.{name}[{i}]" if isinstance(value, list) else f"q.{name}"
            lines.append(f"{target} = {one:#x}ull;")
    lines.append(f"print_operation(RM_CALL_{call.name}, &q, sizeof q);")
    return f"static void frame_{call.name}(void) {{\n{''.join(f'  {line}{chr(10)}' for line in lines)}}}\n"
