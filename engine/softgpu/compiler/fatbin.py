"""Module images: PTX text, fatbins, ELF files, and several of these linked. Finds the PTX that the
device can use.

Every length is checked before it is used: an image is what a client sent. The fatbin layout is the one
that public readers of the format agree on; flag and field meanings were checked against what nvcc 13
writes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import lz4.block
import zstandard

from remora.engine.softgpu.compiler.abi import LINK_MAGIC, SERVICE_MAX_IMAGE
from remora.engine.softgpu.compiler.device_runtime import completed
from remora.engine.softgpu.compiler.errors import ImageError, NoPtxError

CAPABILITY = 120  # what the driver reports: 10 * major + minor
FATBIN_MAGIC = 0xBA55ED50
HEADER = struct.Struct("<IHHQ")  # magic, version, header bytes, payload bytes
# kind, version, header bytes, padded payload bytes, compressed bytes, options, minor, major, arch, name
# place, name bytes, flags, zero, uncompressed bytes
ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")
KIND_PTX, KIND_ELF = 1, 2
FLAG_ZSTD, FLAG_LZ4 = 0x8000, 0x2000
ELF_MAGIC = b"\x7fELF"
MAX_TEXT = 1 << 29
TARGET = re.compile(rb"\.target\s+(?:sm|compute)_(\d+)([af]?)")


@dataclass(slots=True)
class Part:
    """One fatbin entry, still packed."""

    kind: int
    arch: int
    flags: int
    compressed: int
    uncompressed: int
    data: bytes

    def unpack(self) -> bytes:
        """The payload itself."""
        packed = self.data[: self.compressed] if self.compressed else self.data
        size = self.uncompressed
        if not self.flags & (FLAG_ZSTD | FLAG_LZ4):
            return self.data
        if not 0 < size <= MAX_TEXT:
            raise ImageError(f"a fatbin entry claims to unpack to {size} bytes")
        try:
            if self.flags & FLAG_ZSTD:
                return _unzstd(packed, size)
            return lz4.block.decompress(packed, uncompressed_size=size)
        except (zstandard.ZstdError, lz4.block.LZ4BlockError) as error:
            raise ImageError(f"a compressed fatbin entry is damaged: {error}") from error


def _unzstd(packed: bytes, size: int) -> bytes:
    if zstandard.frame_content_size(packed) not in (-1, size):  # what the frame itself claims
        raise ImageError("a compressed fatbin entry is damaged: two different sizes")
    return zstandard.ZstdDecompressor(max_window_size=MAX_TEXT).decompress(packed, max_output_size=size)


def parts(image: bytes) -> Iterator[Part]:
    """The entries of all regions of a fatbin."""
    place = 0
    while place + HEADER.size <= len(image):
        magic, _, head, size = HEADER.unpack_from(image, place)
        if magic != FATBIN_MAGIC:
            break
        start, end = place + head, place + head + size
        if head < HEADER.size or end > len(image):
            raise ImageError("a fatbin is cut off or its header is damaged")
        yield from _region(image, start, end)
        place = (end + 7) & ~7


def _region(image: bytes, place: int, end: int) -> Iterator[Part]:
    while place + ENTRY.size <= end:
        kind, _, head, size, packed, _, _, _, arch, _, _, flags, _, unpacked = ENTRY.unpack_from(image, place)
        stop = place + head + size
        if head < ENTRY.size or stop > end or packed > size:
            raise ImageError("a fatbin entry is cut off or damaged")
        yield Part(kind, arch, flags, packed, unpacked, image[place + head : stop])
        place = stop


def _usable(text: bytes) -> bool:
    """Whether PTX for a specific architecture (sm_90a) or family (sm_100f) fits this device."""
    match = TARGET.search(text)
    if match is None:
        return True
    target, suffix = int(match[1]), match[2]
    if suffix == b"a":
        return target == CAPABILITY
    if suffix == b"f":
        return target // 10 == CAPABILITY // 10 and target <= CAPABILITY
    return target <= CAPABILITY


def _from_fatbin(image: bytes) -> bytes:
    """The PTX of the highest target that fits."""
    found = list(parts(image))
    texts = sorted((p for p in found if p.kind == KIND_PTX), key=lambda p: -p.arch)
    for part in texts:
        if part.arch <= CAPABILITY and _usable(text := part.unpack()):
            return text
    targets = ", ".join(f"sm_{arch}" for arch in sorted({p.arch for p in texts or found})) or "nothing"
    if texts:
        raise NoPtxError(f"the image holds PTX, but none for sm_{CAPABILITY} or lower ({targets})")
    raise NoPtxError(
        f"the image holds machine code of real GPUs only ({targets}), and the software GPU runs PTX: "
        "compile with PTX included (nvcc: -arch=sm_XX, or -gencode ...,code=compute_XX; "
        "-arch=native leaves it out)"
    )


def _plain_text(image: bytes) -> bytes:
    text = image.split(b"\0", 1)[0]
    if b".version" not in text:
        raise ImageError("the image is neither PTX text nor a fatbin")
    return text


def _linked(image: bytes) -> Iterator[bytes]:
    """The images inside a linked one."""
    count = int.from_bytes(image[4:8], "little")
    place = 8
    for _ in range(count):
        size = int.from_bytes(image[place : place + 8], "little")
        if place + 8 + size > len(image):
            raise ImageError("a linked image is cut off")
        yield image[place + 8 : place + 8 + size]
        place = (place + 8 + size + 7) & ~7


def _linked_text(image: bytes, depth: int) -> bytes:
    """All PTX of a linked image. Parts without any are left out: nvcc adds the device runtime to every link,
    and what a program really lacks is an undefined symbol later."""
    texts = []
    refused: NoPtxError | None = None
    for one in _linked(image):
        try:
            texts.append(ptx_bytes(one, depth + 1))
        except NoPtxError as error:
            refused = error
    if refused and not texts:
        raise refused
    return b"\n".join(texts)


def ptx_bytes(image: bytes, depth: int = 0) -> bytes:
    """The PTX text of any image."""
    magic = int.from_bytes(image[:4], "little")
    if len(image) > SERVICE_MAX_IMAGE or depth > 4:
        raise ImageError("the image is too large")
    if magic == LINK_MAGIC:
        return _linked_text(image, depth)
    if magic == FATBIN_MAGIC:
        return _plain_text(_from_fatbin(image))
    if image.startswith(ELF_MAGIC):
        raise NoPtxError(
            "the image is machine code of a real GPU (a cubin), and the software GPU runs PTX: "
            "compile to PTX instead (CuPy: CUPY_COMPILE_WITH_PTX=1)"
        )
    return _plain_text(image)


def find_ptx(image: bytes) -> str:
    """The PTX of an image as text; ImageError or NoPtxError when there is none."""
    return completed(ptx_bytes(image).decode("utf-8", "replace"))
