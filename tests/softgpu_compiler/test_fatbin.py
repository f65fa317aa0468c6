"""Images: every way nvcc packs PTX, choosing among several, and damage."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from remora.engine.softgpu.compiler.errors import CompileError, ImageError, NoPtxError
from remora.engine.softgpu.compiler.fatbin import ENTRY, HEADER, find_ptx, parts
from tests.programs.toolchain import build

SOURCE = Path(__file__).with_name("kernels.cu")
PTX_120 = "-gencode=arch=compute_120,code=compute_120"
PTX_75 = "-gencode=arch=compute_75,code=compute_75"
SASS_80 = "-gencode=arch=compute_80,code=sm_80"


def image(*flags: str) -> bytes:
    return build(SOURCE, "-fatbin", *flags).read_bytes()


@pytest.mark.parametrize("mode", ["none", "size", "speed", "balance", "default"])
def test_compression(mode: str) -> None:
    text = find_ptx(image(PTX_75, f"--compress-mode={mode}"))
    assert ".target sm_75" in text and "vector_add" in text


def test_the_highest_usable_target_is_chosen() -> None:
    assert ".target sm_120" in find_ptx(image(PTX_75, PTX_120, SASS_80))


def test_only_machine_code() -> None:
    with pytest.raises(NoPtxError, match=r"machine code.*sm_80.*PTX"):
        find_ptx(image(SASS_80))
    with pytest.raises(NoPtxError, match="cubin"):
        find_ptx(build(SOURCE, "-cubin", "-arch=sm_80").read_bytes())


def test_ptx_for_a_newer_device_only() -> None:
    with pytest.raises(NoPtxError, match="sm_121"):
        find_ptx(image("-gencode=arch=compute_121,code=compute_121"))


def test_text_and_linked_images() -> None:
    text = build(SOURCE, "--ptx", "-arch=sm_75").read_bytes()
    assert find_ptx(text + b"\0junk") == text.decode()
    packed = image(PTX_75)
    linked = b"RMLK" + struct.pack("<I", 2)
    for one in (text, packed):
        linked += struct.pack("<Q", len(one)) + one + bytes(-len(one) % 8)
    assert find_ptx(linked).count("vector_add(") == 2 * text.decode().count("vector_add(")


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\x7fELF", b"\x50\xed\x55\xba", b"RMLK\xff\xff\xff\xff", b"plain text"]
)
def test_not_an_image(data: bytes) -> None:
    with pytest.raises(CompileError):
        find_ptx(data)


def test_every_truncation_is_an_error() -> None:
    whole = image(PTX_75)
    last = max(HEADER.size + HEADER.unpack_from(whole)[3], 1)
    for size in [*range(0, 200), *range(200, last, 97), last - 1]:
        with pytest.raises(CompileError):
            find_ptx(whole[:size])


def test_damaged_images_end() -> None:
    whole, rng = image(PTX_75, SASS_80), random.Random(3)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(min(len(data), 400) if rng.random() < 0.8 else len(data))] = rng.randrange(256)
        try:
            find_ptx(bytes(data))
        except CompileError:
            pass


def test_a_bomb_is_refused() -> None:
    entry = ENTRY.pack(1, 0x101, 64, 8, 8, 0, 0, 9, 75, 0, 0, 0x8000, 0, 1 << 62) + bytes(8)
    with pytest.raises(ImageError, match="claims"):
        find_ptx(HEADER.pack(0xBA55ED50, 1, 16, len(entry)) + entry)


def test_entries_carry_kind_and_target() -> None:
    assert sorted((p.kind, p.arch) for p in parts(image(PTX_75, SASS_80))) == [(1, 75), (2, 80)]
