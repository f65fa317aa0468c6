"""A small CUDA driver client in ctypes: loads an image on the software GPU and launches kernels on NumPy
arrays.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

LIBRARY = Path(__file__).parents[2] / "engine" / "softgpu" / "lib" / "libcuda.so.1"
Argument = np.ndarray | np.generic | bytes


class DriverError(RuntimeError):
    """A driver call failed; `code` is its CUresult."""

    def __init__(self, name: str, code: int, log: str = "") -> None:
        super().__init__(f"{name} gave {code} {log}")
        self.code = code
        self.log = log


class Driver:
    """The software GPU's driver library with one current context."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(os.fspath(LIBRARY))
        self.call("cuInit", 0)
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *args: object) -> None:
        """One driver call; DriverError unless it succeeds."""
        code = getattr(self.library, name)(*args)
        if code:
            raise DriverError(name, code)

    def load(self, image: bytes) -> Module:
        """Load a module; the JIT error log comes with the error."""
        log, size = ctypes.create_string_buffer(4096), 4096
        options = (ctypes.c_int * 2)(5, 6)  # CU_JIT_ERROR_LOG_BUFFER, its size in bytes
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), size)
        handle = ctypes.c_void_p()
        try:
            self.call("cuModuleLoadDataEx", ctypes.byref(handle), image + b"\0", 2, options, values)
        except DriverError as error:
            raise DriverError("cuModuleLoadDataEx", error.code, log.value.decode()) from None
        return Module(self, handle)

    def allocate(self, data: np.ndarray) -> ctypes.c_uint64:
        """Device memory with a copy of an array."""
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(data.nbytes, 1)))
        self.call("cuMemcpyHtoD_v2", pointer, ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(data.nbytes))
        return pointer


class Module:
    """A loaded module."""

    def __init__(self, driver: Driver, handle: ctypes.c_void_p) -> None:
        self.driver = driver
        self.handle = handle

    def launch(
        self,
        name: str,
        grid: Sequence[int] | int,
        block: Sequence[int] | int,
        *args: Argument,
        shared: int = 0,
    ) -> None:
        """Launch and wait. Arrays are copied to the device and back; scalars and bytes go by value."""
        call, function = self.driver.call, ctypes.c_void_p()
        call("cuModuleGetFunction", ctypes.byref(function), self.handle, name.encode())
        arrays = [(a, self.driver.allocate(a)) for a in args if isinstance(a, np.ndarray)]
        pointers = iter(arrays)
        values = [_bytes(a) if not isinstance(a, np.ndarray) else bytes(next(pointers)[1]) for a in args]
        buffers = [ctypes.create_string_buffer(v, len(v)) for v in values]
        table = (ctypes.c_void_p * max(len(buffers), 1))(*(ctypes.addressof(b) for b in buffers))
        call("cuLaunchKernel", function, *_three(grid), *_three(block), shared, None, table, None)
        call("cuCtxSynchronize")
        for data, pointer in arrays:
            call("cuMemcpyDtoH_v2", ctypes.c_void_p(data.ctypes.data), pointer, ctypes.c_size_t(data.nbytes))
            call("cuMemFree_v2", pointer)


def _three(extent: Sequence[int] | int) -> tuple[int, int, int]:
    given = (extent,) if isinstance(extent, int) else tuple(extent)
    x, y, z = (*given, 1, 1)[:3]
    return x, y, z


def _bytes(value: np.generic | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.tobytes()
