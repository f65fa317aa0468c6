"""A small share of what `python -m tests.softgpu_compiler.fuzz` does, and that it notices faults."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.programs.toolchain import ROOT
from tests.softgpu_compiler import fuzz
from tests.softgpu_compiler.mutations import Seedling

TRANSLATED, RUN = 400, 12


@pytest.fixture(scope="module")
def seeds() -> list[Seedling]:
    return fuzz.corpus()


def test_the_corpus_is_sound(seeds: list[Seedling]) -> None:
    assert len(seeds) > 50
    assert {fuzz.translate(s.text) for s in seeds} <= {"translated", "refused"}
    assert sum(fuzz.translate(s.text) == "translated" for s in seeds) > len(seeds) * 0.9


def test_mutations_are_translated_or_refused(seeds: list[Seedling]) -> None:
    verdicts = [fuzz.translate(fuzz.mutation(seeds, 2, n, False)) for n in range(TRANSLATED)]
    assert not [f"2/{n}: {v}" for n, v in enumerate(verdicts) if v.startswith("fault")]
    assert verdicts.count("refused") > TRANSLATED // 10 < verdicts.count("translated") * 2


def test_mutations_run_without_harm() -> None:
    command = [sys.executable, "-m", fuzz.__name__, "--translate", "0", "--run", str(RUN), "--seed", "2"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    ran = re.search(r"(\d+) ran", run.stdout)
    assert ran and int(ran[1]) > RUN // 2, run.stdout


NAMES = """.version 9.0
.target sm_75
.address_size 64
.global .u32 counter;
.func twice() { ret; }
.visible .entry kernel() {
.reg .b32 %r1; .reg .f32 %f1; .reg .b64 %rd1; .reg .pred %p1;
INSTRUCTION
ret;
}
"""


@pytest.mark.parametrize(
    ("instruction", "verdict"),
    [
        ("mov.u64 %rd1, counter;", "translated"),
        ("fma.rn.f32 %f1, twice, %f1, %f1;", "refused"),
        ("setp.lt.s32 %p1, %r1, twice;", "refused"),
        ("add.u32 %r1, %r1, counter;", "refused"),
    ],
)
def test_an_address_has_64_bits_and_is_no_float(instruction: str, verdict: str) -> None:
    assert fuzz.translate(NAMES.replace("INSTRUCTION", instruction)) == verdict


def test_a_fault_is_noticed(seeds: list[Seedling], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "describe", lambda module: module.no_such_thing)
    assert fuzz.translate(seeds[0].text).startswith("fault: AttributeError")
