"""abi.py and kernel_abi.h say the same; descriptions are laid out as the header's structures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from remora.engine.softgpu.compiler import abi
from remora.engine.softgpu.compiler.describe import describe
from remora.engine.softgpu.compiler.module import Module

HEADER = Path(abi.__file__).parents[1] / "kernel_abi.h"
PTX = """.version 9.0
.target sm_75
.address_size 64
.visible .global .align 8 .u64 table[2] = {f, data+4};
.const .align 4 .b8 data[8] = {1, 2, 3};
.visible .func (.param .b32 r) f(.param .b32 a) { ret; }
.visible .entry first(.param .u32 a, .param .u64 b, .param .align 16 .b8 c[24]) .reqntid 64 { ret; }
.visible .entry second() .maxntid 32, 4 .minnctapersm 2 {
.shared .align 4 .b8 s[100]; st.shared.u32 [s], 1; ret; }
"""
SIZES = {
    "rm_desc": abi.DESC.size, "rm_desc_kernel": abi.DESC_KERNEL.size, "rm_desc_param": abi.DESC_PARAM.size,
    "rm_desc_variable": abi.DESC_VARIABLE.size, "rm_desc_reference": abi.DESC_REFERENCE.size,
    "rm_service_head": abi.HEAD.size, "rm_ask_describe": abi.ASK_DESCRIBE_BODY.size,
    "rm_ask_compile": abi.ASK_COMPILE_BODY.size, "rm_kernel_info": 4 * (7 + abi.KERNEL_INFO_RESERVED),
}  # fmt: skip
SHUFFLES = {"up": "SHFL_UP", "down": "SHFL_DOWN", "bfly": "SHFL_BFLY", "idx": "SHFL_IDX"}


def checks() -> list[str]:
    """C expressions that must hold."""
    found = [f"sizeof(struct {n}) == {s}" for n, s in SIZES.items()]
    found += [f"offsetof(struct rm_block, {n}) == {o}" for n, o in abi.BLOCK.items()]
    found += [f"offsetof(struct rm_thread, {n}) == {o}" for n, o in abi.THREAD.items()]
    found += [f"RM_THREAD_{n.upper()} == {v}" for n, v in abi.STATE.items()]
    found += [f"RM_WARP_{SHUFFLES.get(n, n.upper())} == {v}" for n, v in abi.WARP.items()]
    found += [f"RM_BAR_{n.upper()} == {v}" for n, v in abi.BARRIER.items()]
    found += [f"RM_{n.upper()} == {v}" for n, v in abi.NARROW.items()]
    found += [f"RM_MMA_{n.upper()} == {v}" for n, v in abi.MMA.items()]
    names = {
        "RM_KERNEL_ABI": abi.KERNEL_ABI, "RM_DESC_MAGIC": abi.DESC_MAGIC, "RM_LINK_MAGIC": abi.LINK_MAGIC,
        "RM_SERVICE_MAGIC": abi.SERVICE_MAGIC, "RM_DESC_NONE": abi.DESC_NONE, "RM_ASK_HELLO": abi.ASK_HELLO,
        "RM_ASK_DESCRIBE": abi.ASK_DESCRIBE, "RM_ASK_COMPILE": abi.ASK_COMPILE, "RM_MODE_LOOP": abi.MODE_LOOP,
        "RM_MODE_CORO": abi.MODE_CORO, "RM_SERVICE_NEED_IMAGE": abi.SERVICE_NEED_IMAGE,
        "RM_UNIT_FUNCTIONS": abi.UNIT_FUNCTIONS, "RM_SERVICE_IDLE_S": abi.SERVICE_IDLE_S,
        "RM_MODULE_FUNCTIONS": abi.MODULE_FUNCTIONS, "RM_KERNEL_GRID_SYNC": abi.KERNEL_GRID_SYNC,
        "RM_SATFINITE": abi.SATFINITE, "RM_SERVICE_MAX_IMAGE": abi.SERVICE_MAX_IMAGE,
        "RM_SPACE_CONST": abi.SPACE["const"],
    }  # fmt: skip
    return found + [f"{n} == {v}ull" for n, v in names.items()]


def test_the_header_agrees(tmp_path: Path) -> None:
    source = tmp_path / "agree.c"
    lines = ["#include <stddef.h>", f'#include "{HEADER}"']
    lines += [f'_Static_assert({c}, "{c}");' for c in checks()]
    source.write_text("\n".join(lines))
    run = subprocess.run(
        ["gcc", "-std=gnu11", "-fsyntax-only", str(source)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


def test_description() -> None:
    data = describe(Module(PTX))
    head = abi.DESC.unpack_from(data)
    magic, version, size, ptx, target, flags, kernels, params, variables, references, _ = head[:11]
    at_kernels, at_params, at_variables, at_references, at_data, at_strings, data_bytes, string_bytes = head[
        11:
    ]
    assert (magic, version, size) == (abi.DESC_MAGIC, abi.KERNEL_ABI, len(data))
    assert (ptx, target, flags) == (90, 75, abi.MODULE_FUNCTIONS)
    assert (kernels, params, variables, references) == (2, 3, 2, 2)
    assert at_strings + string_bytes <= len(data) and at_data + data_bytes <= len(data)

    def name(offset: int) -> str:
        start = at_strings + offset
        return data[start : data.index(b"\0", start)].decode()

    first, second = (abi.DESC_KERNEL.unpack_from(data, at_kernels + i * abi.DESC_KERNEL.size) for i in (0, 1))
    assert name(first[0]) == "first" and first[1:] == (0, 3, 40, 0, 0, 64, 64, 1, 1, 0, 7)
    assert name(second[0]) == "second" and second[2:7] == (0, 0, 100, 0, 128) and second[10] == 2
    layout = [abi.DESC_PARAM.unpack_from(data, at_params + i * abi.DESC_PARAM.size)[:2] for i in range(3)]
    assert layout == [(0, 4), (8, 8), (16, 24)]
    table = abi.DESC_VARIABLE.unpack_from(data, at_variables)
    assert name(table[0]) == "table" and table[4] == 16 and table[7:] == (0, 2)
    links = [
        abi.DESC_REFERENCE.unpack_from(data, at_references + i * abi.DESC_REFERENCE.size) for i in (0, 1)
    ]
    assert [(o, a, name(s), b, h) for o, a, s, b, h in links] == [(0, 0, "f.f", 8, 0), (8, 4, "v.data", 8, 0)]
    const = abi.DESC_VARIABLE.unpack_from(data, at_variables + abi.DESC_VARIABLE.size)
    assert data[at_data + const[5] : at_data + const[5] + const[6]] == bytes([1, 2, 3])
