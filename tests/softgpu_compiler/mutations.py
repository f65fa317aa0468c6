"""Damaged PTX: real kernels with a few random changes. The same seed gives the same text."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from remora.engine.softgpu.compiler.fatbin import find_ptx
from remora.engine.softgpu.compiler.module import Module

TOKEN = re.compile(r"[%$.\w]+(?:::\w+)*|\S")
WORDS = [
    ".u8", ".s16", ".u32", ".s32", ".b64", ".f16", ".bf16x2", ".f32", ".f64", ".pred", ".ftz", ".sat",
    ".rz", ".wide", ".hi", ".v4", ".volatile", ".shared", ".global", ".local", ".const", ".param",
    ".b128", "%tid.x", "%laneid", "%clock64", "%nothing", "WARP_SZ", "_", "0", "1", "-1", "31", "32",
    "4294967296", "0x7fffffffffffffff", "0f7FC00000", "0d7FF0000000000000", "99999999999999999999",
    "{", "}", "(", ")", "[", "]", ";", ":", "@", "!", "|", "<", ">", "add", "mul.lo", "cvt.rni",
    "bar.sync", "shfl.sync", "atom", "bra", "ret", "exit", "trap", "call", "ld", "st", "mov", ".reg",
    ".align", ".func", ".entry", "//", "/*", "*/",
]  # fmt: skip


@dataclass(frozen=True)
class Seedling:
    """A module cut down to one kernel: what stands outside functions, and the kernel with what it calls."""

    name: str
    head: str
    body: str

    @property
    def text(self) -> str:
        return self.head + self.body


def seedlings(image: bytes, most_lines: int = 400) -> list[Seedling]:
    """The kernels of an image, one by one."""
    module = Module(find_ptx(image))
    spans = sorted((e.start, e.end) for e in module.entries.values())
    head, at = "", 0
    for start, end in spans:
        head, at = head + module.text[at:start], end
    head += module.text[at:]
    externals = [e for e in module.entries.values() if e.body < 0]
    found = []
    for kernel in module.kernels():
        called = [module.entries[n] for n in reversed(module.reach(kernel.name))]
        taken = [module.entries[n] for n in module.taken_functions()]
        wanted = dict.fromkeys(e.name for e in [*externals, *taken, *called])
        body = "".join("\n" + module.text[module.entries[n].start : module.entries[n].end] for n in wanted)
        if body.count("\n") <= most_lines:
            found.append(Seedling(kernel.name, re.sub(r"\n\s*\n+", "\n", head), body))
    return found


def _token(rng: random.Random, text: str, tokens: list[str], kind: int) -> str:
    """One token changed."""
    at = rng.choice(list(TOKEN.finditer(text)))
    word = at.group()
    if kind == 0:
        word = _digit(rng, word)
    elif kind == 1:
        word = _modifier(rng, word, tokens)
    elif kind == 2:
        word = rng.choice(tokens)
    else:
        word = rng.choice((rng.choice(WORDS), "", f"{word} {rng.choice(WORDS)}"))
    return text[: at.start()] + word + text[at.end() :]


def _digit(rng: random.Random, word: str) -> str:
    places = [i for i, c in enumerate(word) if c.isdigit()]
    if not places:
        return rng.choice(WORDS)
    i = rng.choice(places)
    return word[:i] + str(rng.randrange(10)) + word[i + 1 :]


def _modifier(rng: random.Random, word: str, all_tokens: list[str]) -> str:
    parts = word.split(".")
    others = [t for t in all_tokens if "." in t[1:]]
    donor = rng.choice(others or [".u32"]).split(".")
    parts[rng.randrange(len(parts))] = rng.choice(donor)
    return ".".join(parts)


def _line(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = lines[j]
    return "\n".join(lines)


def _characters(rng: random.Random, text: str) -> str:
    i = rng.randrange(len(text))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:i] + chr(rng.randrange(1, 256)) + text[i + 1 :]
    if kind == 1:
        return text[:i] + text[i + rng.randrange(1, 30) :]
    if kind == 2:
        return text[:i]
    return text[:i] + text[i : i + rng.randrange(1, 200)] * rng.randrange(2, 4) + text[i:]


def mutated(rng: random.Random, seedling: Seedling, gentle: bool = False) -> str:
    """The module's text with one to four changes. `gentle`: to single tokens only, so that more compile."""
    text = seedling.body
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.randrange(3 if gentle else 7)
        tokens = TOKEN.findall(text)
        if not tokens:
            break
        if kind < 4:
            text = _token(rng, text, tokens, kind)
        elif kind in (4, 5):
            text = _line(rng, text)
        else:
            text = _characters(rng, text)
    if not gentle and rng.random() < 0.05:
        return _characters(rng, seedling.head + text)
    return seedling.head + text
