"""Module images by content hash: sent once to an engine, loaded by any of its sessions.

A session collects the parts that its client sends, checks the hash, and keeps the image in a folder that
all workers of the engine share. What is read from there is checked again: no tenant can plant code for
another.
Must not know: the wire, the driver.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import struct
import threading
from pathlib import Path

from . import settings

WRAPPER = 0x466243B1  # holds pointers of the process that made it: clients send what they lead to
FATBIN = 0xBA55ED50
PAGE = mmap.PAGESIZE


def digest(data: memoryview) -> bytes:
    """The hash that names an image: BLAKE2b, 32 bytes."""
    return hashlib.blake2b(data, digest_size=32).digest()


def fits(data: memoryview) -> bool:
    """Whether the sizes inside an image stay within it, since load calls carry none.

    ELF: section and program header tables and sections (System V ABI); fat binary: its header's size; else
    text, which ends at the zeros behind it.
    """
    magic = int.from_bytes(data[:4], "little")
    if data[:4] == b"\x7fELF":
        return _elf_fits(data)
    if len(data) >= 16 and magic == FATBIN:
        _, _, header, size = struct.unpack_from("<IHHQ", data)
        return header + size <= len(data)
    return magic != WRAPPER


def _elf_fits(data: memoryview) -> bool:
    if len(data) < 64 or data[4] != 2:
        return False
    phoff, shoff = struct.unpack_from("<QQ", data, 32)
    phentsize, phnum, shentsize, shnum, shstrndx = struct.unpack_from("<HHHHH", data, 54)
    if phoff + phentsize * phnum > len(data) or shoff + shentsize * shnum > len(data):
        return False
    if shnum and (shentsize != 64 or shstrndx >= shnum):
        return False
    for index in range(shnum):
        kind, offset, size = struct.unpack_from("<I16xQQ", data, shoff + index * 64 + 4)
        if kind != 8 and offset + size > len(data):  # 8: SHT_NOBITS, takes no room in the file
            return False
    return True


class Image:
    """An image in memory of its own, zeros behind it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.received = 0
        self.users = 0
        self.map = mmap.mmap(-1, (size + 2 * PAGE - 1) // PAGE * PAGE)

    @property
    def data(self) -> memoryview:
        return memoryview(self.map)[: self.size]

    @property
    def address(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self.map))


class Images:
    """The images of one session, and the folder that it shares with others (None: none)."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.held: dict[bytes, Image] = {}
        self.lock = threading.Lock()

    def add(self, key: bytes, size: int, offset: int, part: memoryview) -> int:
        """Takes one part, in order. 0, or a CUresult: 1 out of order or too large, 2 too many at a time."""
        with self.lock:
            image = self.held.get(key)
            if image is not None and image.received == image.size:
                return 0  # another thread of the client has sent it meanwhile
            if image is None or offset == 0:
                if not 0 < size <= settings.IMAGE_BYTES:
                    return 1
                held = sum(one.size for one in self.held.values())
                if len(self.held) >= settings.IMAGES_INCOMING or held + size > settings.IMAGES_BYTES:
                    return 2
                image = self.held[key] = Image(size)
            if size != image.size or offset != image.received or len(part) > size - offset:
                return 1
            image.map[offset : offset + len(part)] = bytes(part)
            image.received += len(part)
            return 0

    def open(self, key: bytes, size: int) -> int:
        """Address of an image, 0 when it isn't here. ValueError: it is not what its hash says."""
        with self.lock:
            image = self.held.get(key)
            fresh = image is not None and image.received == image.size
        if not fresh:
            image = self._read(key, size)
        if image is None:
            return 0
        return self._checked(key, image, keep=fresh).address

    def _checked(self, key: bytes, image: Image, keep: bool) -> Image:
        good = digest(image.data) == key and fits(image.data)
        with self.lock:
            if good:
                image.users += 1
                self.held[key] = image
            else:
                self.held.pop(key, None)
        if not good:
            raise ValueError("an image is not what its hash says, or is cut short")
        if keep:
            self._write(key, image)
        return image

    def close(self, key: bytes) -> None:
        """The driver has its copy: the memory goes."""
        with self.lock:
            image = self.held.get(key)
            if image is not None:
                image.users -= 1
                if image.users <= 0:
                    del self.held[key]

    def _read(self, key: bytes, size: int) -> Image | None:
        if self.folder is None or not 0 < size <= settings.IMAGE_BYTES:
            return None
        path = self.folder / key.hex()
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != size:
                    return None
                image = Image(size)
                image.received = file.readinto(image.data)
            os.utime(path)
        except OSError:
            return None
        return image if image.received == size and digest(image.data) == key else None

    def _write(self, key: bytes, image: Image) -> None:
        """Keeps it for other sessions; a full disk only costs the next one its upload."""
        if self.folder is None:
            return
        part = self.folder / f"{key.hex()}.{os.getpid()}"
        try:
            part.write_bytes(image.data)
            part.rename(self.folder / key.hex())
            trim(self.folder, settings.IMAGE_CACHE_BYTES)
        except OSError:
            part.unlink(missing_ok=True)


def trim(folder: Path, limit: int) -> None:
    """Removes the images used longest ago until the folder holds at most limit bytes."""
    files = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(folder))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= limit:
            return
        Path(path).unlink(missing_ok=True)
        total -= size
