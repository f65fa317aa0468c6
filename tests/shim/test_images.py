"""Measuring module images that come without a size."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import pytest

from tests.shim import library

INVALID_VALUE, INVALID_IMAGE, FILE_NOT_FOUND = 1, 200, 301
UNKNOWN = ctypes.c_size_t(-1).value


class Image(ctypes.Structure):
    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("linked", ctypes.c_bool),
        ("owned", ctypes.c_void_p),
    ]

    @property
    def content(self) -> bytes:
        return ctypes.string_at(self.bytes, self.size)


class Images:
    def __init__(self, inner: ctypes.CDLL) -> None:
        self.inner = inner

    def of(self, pointer: bytes | int, limit: int = UNKNOWN) -> tuple[int, Image]:
        image = Image()
        argument = ctypes.c_void_p(pointer) if isinstance(pointer, int) else pointer
        return self.inner.rm_image_of(argument, ctypes.c_size_t(limit), ctypes.byref(image)), image

    def from_file(self, path: Path) -> tuple[int, Image]:
        image = Image()
        return self.inner.rm_image_from_file(bytes(path), ctypes.byref(image)), image


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(library.load(tmp_path_factory.mktemp("image") / "image.so", "shim/runtime/image.c"))


PTX = b".version 8.0\n.target sm_90\n.address_size 64\n"


def fatbin(payload: bytes = b"x" * 100) -> bytes:
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(payload)) + payload


def elf() -> bytes:
    """A real ELF64: the C compiler's."""
    return library.SHIM.read_bytes()


def elf_end(data: bytes) -> int:
    """Where the section table ends, which in a linker's output is the end of the file."""
    offset, count = struct.unpack_from("<Q", data, 0x28)[0], struct.unpack_from("<H", data, 0x3C)[0]
    return int(offset + 64 * count)


def test_ptx_ends_with_its_nul(images: Images) -> None:
    status, image = images.of(PTX + b"\0after")
    assert (status, image.content) == (0, PTX + b"\0")


def test_fatbin_tells_its_size(images: Images) -> None:
    status, image = images.of(fatbin() + b"after")
    assert (status, image.content) == (0, fatbin())


def test_elf_ends_with_its_tables(images: Images) -> None:
    data = elf()
    status, image = images.of(data + b"after" * 1000)
    assert (status, image.size) == (0, elf_end(data))


@pytest.mark.parametrize("size", [4, 12, 16, 63, 115])
def test_a_fatbin_cut_short_is_refused(images: Images, size: int) -> None:
    assert images.of(fatbin(), size)[0] == INVALID_IMAGE


@pytest.mark.parametrize("size", [4, 40, 63, 64, 4096])
def test_an_elf_cut_short_is_refused(images: Images, size: int) -> None:
    assert images.of(elf(), size)[0] == INVALID_IMAGE


@pytest.mark.parametrize("data", [b"\1\2\3\4rubbish\0", b"\0\0\0\0\0\0\0\0", b"\x7fELF" + b"\xff" * 100])
def test_rubbish_is_refused(images: Images, data: bytes) -> None:
    assert images.of(data)[0] == INVALID_IMAGE


def test_null_is_an_invalid_value(images: Images) -> None:
    assert images.of(0)[0] == INVALID_VALUE


def wrapper(version: int, data: bytes, linked: list[bytes]) -> tuple[bytes, list[object]]:
    """A wrapper around images, and what must stay alive beside it."""
    main = ctypes.create_string_buffer(data)
    parts = [ctypes.create_string_buffer(part) for part in linked]
    listing = (ctypes.c_void_p * (len(parts) + 1))(*(ctypes.addressof(part) for part in parts))
    packed = struct.pack(
        "<IIQQ", 0x466243B1, version, ctypes.addressof(main), ctypes.addressof(listing) if linked else 0
    )
    return packed, [main, *parts, listing]


def test_a_wrapper_leads_to_its_fatbin(images: Images) -> None:
    packed, _alive = wrapper(1, fatbin(), [])
    status, image = images.of(packed)
    assert (status, image.content) == (0, fatbin())


def test_a_linked_wrapper_gives_all_its_fatbins(images: Images) -> None:
    parts = [fatbin(b"first"), fatbin(b"second one")]
    packed, _alive = wrapper(2, fatbin(), parts)
    status, image = images.of(packed)
    assert image.linked
    padded = [part + bytes(-len(part) % 8) for part in (fatbin(), *parts)]
    assert (status, image.content) == (0, b"".join(padded))


def test_files(images: Images, tmp_path: Path) -> None:
    for name, data, expected in (("a.ptx", PTX, PTX + b"\0"), ("a.fatbin", fatbin(), fatbin())):
        path = tmp_path / name
        path.write_bytes(data)
        status, image = images.from_file(path)
        assert (status, image.content) == (0, expected)


def test_bad_files(images: Images, tmp_path: Path) -> None:
    cut = tmp_path / "cut.fatbin"
    cut.write_bytes(fatbin()[:50])
    assert images.from_file(cut)[0] == INVALID_IMAGE
    assert images.from_file(tmp_path)[0] == INVALID_IMAGE
    assert images.from_file(tmp_path / "nothing")[0] == FILE_NOT_FOUND
