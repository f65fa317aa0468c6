"""The PTX parser and the module index: what they accept, and that damage gives an error with a place."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from remora.engine.softgpu.compiler.errors import PtxError, UnsupportedError
from remora.engine.softgpu.compiler.module import Module
from remora.engine.softgpu.compiler.syntax import (
    Bits,
    Instr,
    Int,
    Label,
    Mem,
    Not,
    Pair,
    Ref,
    Reg,
    Special,
    Sym,
    Vec,
)

HEAD = ".version 9.0\n.target sm_75\n.address_size 64\n"
KERNEL = """
.visible .entry k(.param .u64 k_param_0, .param .align 16 .b8 k_param_1[20]) .maxntid 128, 2, 1
{
  .reg .pred %p<3>;
  .reg .b32 %r<5>;
  .reg .f32 %f<4>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [k_param_0];
  mov.u32 %r1, %tid.x;
  setp.lt.s32 %p1|%p2, %r1, -5;
@!%p1 bra $L__done;
  { .reg .b32 %r1; mov.u32 %r1, 7; st.global.v2.u32 [%rd1+8], {%r1, %r1}; }
  fma.rn.f32 %f1, %f2, 0f3F800000, %f3;
$L__done:
  ret;
}
"""


def instructions(text: str) -> list[Instr]:
    return Module(HEAD + text).function("k").instructions()


def test_operands() -> None:
    load, mov, setp, branch, inner, store, fma, _ = instructions(KERNEL)
    assert load.args == [Reg("%rd1"), Mem(Sym("k_param_0"))]
    assert mov.args == [Reg("%r1"), Special("%tid.x")]
    assert setp.args == [Pair(Reg("%p1"), Reg("%p2")), Reg("%r1"), Int(-5)]
    assert branch.pred == Not("%p1") and branch.args == [Sym("$L__done")]
    assert fma.args[2] == Bits(0x3F800000, 32)
    name = inner.args[0]
    assert isinstance(name, Reg) and name.name != "%r1", "an inner register hides the outer one"
    assert store.args == [Mem(Reg("%rd1"), 8), Vec([name, name])]


def test_function_header() -> None:
    module = Module(HEAD + KERNEL)
    header = module.header("k")
    assert [(p.size, p.align) for p in header.params] == [(8, 8), (20, 16)]
    assert header.limits == {".maxntid": [128, 2, 1]}
    assert Label("$L__done") in module.function("k").body


def test_comments_keep_lines() -> None:
    text = HEAD + '/* a\nb */ // c\n.file 1 "a//b.cu"\n.visible .entry k() { bad bad; }'
    module = Module(text)
    assert module.line(module.entries["k"].start) == 7


def test_variables() -> None:
    module = Module(
        HEAD + ".visible .global .align 4 .b8 a[8] = {1, 2, 0xff, 4};\n"
        ".const .f32 b[2] = {0f3F800000, 2.5};\n"
        ".global .u64 c[3] = {a, generic(a)+4, 0};\n"
        ".global .align 1 .b8 d[2] = {0xFF(a), 0xFF00(a)};\n"
        ".extern .shared .align 16 .b8 s[];\n"
    )  # fmt: skip
    v = module.variables
    assert v["a"].init == [1, 2, 255, 4] and v["a"].size == 8 and v["a"].visible
    assert v["b"].init == [Bits(0x3F800000, 32), 2.5] and v["b"].space == "const"
    assert v["c"].init == [Ref("a"), Ref("a", 4), 0]
    assert v["d"].init == [Ref("a", 0, 0, True), Ref("a", 0, 8, True)]
    assert v["s"].size == 0 and v["s"].extern and v["s"].align == 16


def test_shared_layout() -> None:
    module = Module(
        HEAD + ".extern .shared .align 16 .b8 dyn[];\n"
        ".shared .align 4 .b8 unused[4096];\n.shared .align 8 .b8 m[8];\n"
        ".func f() { .shared .align 4 .b8 inner[12]; .reg .b32 %r<2>; st.shared.u32 [inner], %r1; ret; }\n"
        ".entry k() { .shared .f32 own[3]; .reg .b64 %rd<3>;"
        " mov.u64 %rd1, dyn; mov.u64 %rd2, m; call f, (); ret; }\n"
        ".entry empty() { ret; }"
    )
    layout, size = module.shared_layout("k")
    assert layout["", "m"] % 8 == 0 and ("", "unused") not in layout
    assert layout["f", "inner"] % 4 == 0 and layout["k", "own"] % 4 == 0
    places = sorted([(layout["", "m"], 8), (layout["f", "inner"], 12), (layout["k", "own"], 12)])
    assert all(a + n <= b for (a, n), (b, _) in pairwise(places)), "no overlap"
    assert size == layout["", "dyn"] >= 32 and size % 16 == 0
    assert module.shared_layout("empty") == ({}, 0)


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", HEAD + ".entry k() {", HEAD + ".entry k( {}", HEAD + ".entry k() { add.s32 %r1, ; }",
        HEAD + ".entry k() { mov.u32 ( ; }", HEAD + ".global .b8 a[99999999999999999999];",
        HEAD + ".global .align 3 .b8 a;",
        HEAD + ".entry k() { ret; } .entry k() { ret; }", HEAD + ".global .b8 a = {1,2", HEAD + "}",
        HEAD + ".entry k() { .reg .b32 %r<; }", HEAD + ".entry k() { \x01 }",
    ],
)  # fmt: skip
def test_damage_is_an_error(text: str) -> None:
    with pytest.raises(PtxError):
        module = Module(text)
        for entry in module.kernels():
            module.function(entry.name)


def test_unknown_directives_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="directive"):
        instructions(".entry k() { .strange 1; }")


def test_mutated_text_never_crashes() -> None:
    rng = random.Random(7)
    pieces = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ";",
        ",",
        ".reg",
        "%r1",
        "0x",
        "-",
        '"',
        "/*",
        "|",
        "@",
        "<",
        "1e9",
        "\n",
    ]
    for _ in range(1500):
        text = HEAD + KERNEL
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(pieces) + text[at + rng.randrange(3) :]
        try:
            module = Module(text)
            for entry in module.kernels():
                module.function(entry.name)
                module.shared_layout(entry.name)
        except PtxError:
            pass
