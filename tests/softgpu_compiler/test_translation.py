"""Translation without running: damaged modules never crash the translator or LLVM, compiling is fast
enough, and the page of supported PTX is current.
"""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from remora.engine.softgpu.compiler import native
from remora.engine.softgpu.compiler.coverage import table
from remora.engine.softgpu.compiler.describe import describe
from remora.engine.softgpu.compiler.errors import PtxError
from remora.engine.softgpu.compiler.fatbin import find_ptx
from remora.engine.softgpu.compiler.module import Module
from remora.engine.softgpu.compiler.unit import Unit
from tests.programs.toolchain import build
from tests.softgpu_compiler.conftest import SOURCE

TYPES = ["s32", "u32", "f32", "u64", "s64", "b32", "b64", "f64", "pred", "u16", "f16", "b8", "b128", "bf16x2"]
OPERANDS = ["%r1", "%rd1", "%f1", "%p1", "%tid.x", "5", "0f3F800000", "-1"]
TYPE = re.compile(r"\.(s32|u32|f32|u64|s64|b32|b64|f64|pred|u16)\b")


def mutated(text: str, rng: random.Random) -> str:
    """A few lines lost, doubled, swapped, retyped or with other operands."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                lines[i] = rng.choice(lines)
            case 1:
                del lines[i]
            case 2:
                lines[i] = TYPE.sub(lambda _: "." + rng.choice(TYPES), lines[i])
            case 3:
                lines[i] = re.sub(r"%\w+", lambda m: rng.choice([*OPERANDS, m[0]]), lines[i])
            case 4:
                at = rng.randrange(len(lines[i]) + 1)
                lines[i] = lines[i][:at] + rng.choice(",;[]{}().|-0%") + lines[i][at + rng.randrange(2) :]
            case _:
                lines.insert(i, rng.choice(lines))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_modules(seed: int) -> None:
    rng = random.Random(seed)
    whole = find_ptx(build(SOURCE, "-fatbin", "-gencode=arch=compute_75,code=compute_75").read_bytes())
    head, *kernels = re.split(r"(?=\.visible \.entry)", whole)
    compiled = 0
    for _ in range(150):
        try:
            module = Module(mutated(head + rng.choice(kernels), rng))
            describe(module)
            for entry in module.kernels():
                unit = Unit(module)
                unit.kernel(entry.name)
                if rng.random() < 0.25:  # LLVM must take whatever the translator accepts
                    compiled += len(native.compile_ir(unit.text())) > 0
        except PtxError:
            pass
    assert compiled > 3


def test_every_kernel_is_fast_to_compile() -> None:
    """At most 1 ms for each instruction on a quiet machine; ten times that here."""
    module = Module(
        find_ptx(build(SOURCE, "-fatbin", "-gencode=arch=compute_75,code=compute_75").read_bytes())
    )
    begin, count = time.process_time(), 0
    for entry in module.kernels():
        unit = Unit(module)
        unit.kernel(entry.name)
        native.compile_ir(unit.text())
        count += len(module.function(entry.name).instructions())
    assert (time.process_time() - begin) / count < 10e-3


@pytest.mark.parametrize(("size", "taken"), [("1", True), ("1, 1, 1", True), ("2", False), ("1, 2", False)])
def test_clusters_of_several_blocks_are_refused_by_name(size: str, taken: bool) -> None:
    text = ".version 8.5\n.target sm_90\n.address_size 64\n.visible .entry k()\n.explicitcluster\n"
    unit = Unit(Module(f"{text}.reqnctapercluster {size}\n{{ ret; }}"))
    if taken:
        unit.kernel("k")
        return
    with pytest.raises(PtxError, match="clusters of several blocks"):
        unit.kernel("k")


def test_the_page_of_supported_ptx_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "ptx-coverage.md"
    assert page.read_text() == table(), (
        "run python -m remora.engine.softgpu.compiler coverage docs/ptx-coverage.md"
    )
