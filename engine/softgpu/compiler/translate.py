"""Images in, descriptions and objects out, with the cache between. Knows no socket."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from remora.engine.softgpu.compiler import abi, native
from remora.engine.softgpu.compiler.cache import Cache, image_key
from remora.engine.softgpu.compiler.describe import describe
from remora.engine.softgpu.compiler.errors import CompileError, PtxError
from remora.engine.softgpu.compiler.fatbin import find_ptx
from remora.engine.softgpu.compiler.module import Module
from remora.engine.softgpu.compiler.unit import Unit

MAX_HELD = 256 << 20  # bytes of images kept for COMPILE requests


class NeedImageError(Exception):
    """The image behind a key is not at hand: describe it again."""


def explain(module: Module, error: PtxError) -> str:
    """A line for the JIT error log."""
    line = module.line(error.pos)
    return f"ptx line {line}: {error}" if line else f"ptx: {error}"


def module_from_image(image: bytes) -> Module:
    """Find and index an image's PTX."""
    text = find_ptx(image)
    try:
        return Module(text)
    except PtxError as error:
        line = text.count("\n", 0, error.pos) + 1 if error.pos >= 0 else 0
        raise CompileErrorAt(f"ptx line {line}: {error}") from error


class CompileErrorAt(CompileError):
    """A PtxError whose text says where."""

    code = PtxError.code


def object_code(module: Module, unit: int) -> bytes:
    """The object file of a kernel (by index) or of the functions whose address is taken."""
    translated = Unit(module)
    try:
        if unit == abi.UNIT_FUNCTIONS:
            translated.functions()
        else:
            kernels = module.kernels()
            if unit >= len(kernels):
                raise PtxError(f"the module has no kernel {unit}")
            translated.kernel(kernels[unit].name)
    except PtxError as error:
        raise CompileErrorAt(explain(module, error)) from error
    try:
        return native.compile_ir(translated.text())
    except RuntimeError as error:
        raise CompileError(f"LLVM refused the translation: {str(error).strip()[:500]}") from error


class Translator:
    """Serves any number of threads; one translation at a time."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.lock = threading.Lock()
        self.images: OrderedDict[str, bytes] = OrderedDict()
        self.modules: OrderedDict[str, Module] = OrderedDict()

    def describe(self, options: bytes, image: bytes) -> bytes:
        """The description of an image, from the cache if it is there."""
        key = image_key(options, image)
        with self.lock:
            self._hold(key, image)
            path = self.cache.description_path(key)
            data = self.cache.get(path)
            if data is None:
                data = self._describe(key)
                self.cache.put(path, data)
            return data

    def _describe(self, key: str) -> bytes:
        module = self._module(key)
        try:
            return describe(module)
        except PtxError as error:
            raise CompileErrorAt(explain(module, error)) from error

    def compile(self, key: str, unit: int) -> Path:
        """The path of an object file, compiled if it isn't in the cache."""
        path = self.cache.object_path(key, unit)
        with self.lock:
            if self.cache.get(path) is None:
                self.cache.put(path, object_code(self._module(key), unit))
        return path

    def _hold(self, key: str, image: bytes) -> None:
        self.images[key] = image
        self.images.move_to_end(key)
        while sum(map(len, self.images.values())) > MAX_HELD and len(self.images) > 1:
            old, _ = self.images.popitem(last=False)
            self.modules.pop(old, None)

    def _module(self, key: str) -> Module:
        if key not in self.modules:
            if key not in self.images:
                raise NeedImageError
            self.modules[key] = module_from_image(self.images[key])
        self.images.move_to_end(key)
        return self.modules[key]
