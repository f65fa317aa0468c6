"""The software GPU's library through ctypes: the driver API as a C program calls it.

Knows nothing of pytest; handles are plain integers.
"""

from __future__ import annotations

import ctypes as C
import itertools
from pathlib import Path

ILLEGAL_ADDRESS, NO_BINARY, INVALID_PTX, NOT_FOUND, INVALID_VALUE = 700, 209, 218, 500, 1
OUT_OF_MEMORY, INVALID_HANDLE, NOT_READY, NOT_PERMITTED = 2, 400, 600, 800

PTX = """
.version 7.0
.target sm_75
.address_size 64
.global .align 4 .u32 total;
.visible .entry add(.param .u64 p, .param .u32 n, .param .u32 by)
{
  .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %d<4>;
  ld.param.u64 %d1, [p]; ld.param.u32 %r1, [n]; ld.param.u32 %r5, [by];
  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
  mad.lo.u32 %r2, %r2, %r3, %r4;
  setp.ge.u32 %p1, %r2, %r1; @%p1 ret;
  cvta.to.global.u64 %d1, %d1;
  mul.wide.u32 %d2, %r2, 4; add.u64 %d3, %d1, %d2;
  ld.global.u32 %r4, [%d3]; add.u32 %r4, %r4, %r5; st.global.u32 [%d3], %r4;
  ret;
}
.visible .entry nothing() { ret; }
"""


class CudaError(Exception):
    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: error {code}")
        self.code = code


class Driver:
    def __init__(self, path: Path) -> None:
        self.library = C.CDLL(str(path))

    def status(self, name: str, *arguments: object) -> int:
        return int(getattr(self.library, name)(*map(passed, arguments)))

    def call(self, name: str, *arguments: object) -> None:
        code = self.status(name, *arguments)
        if code:
            raise CudaError(name, code)

    def get(self, name: str, *arguments: object, kind: type = C.c_uint64) -> int:
        """A call whose first argument is where the answer goes."""
        out = kind()
        self.call(name, C.byref(out), *arguments)
        return int(out.value)

    def attribute(self, number: int, device: int = 0) -> int:
        return self.get("cuDeviceGetAttribute", number, device, kind=C.c_int)

    def module(self, image: str | bytes) -> int:
        text = image.encode() if isinstance(image, str) else image
        return self.get("cuModuleLoadData", C.c_char_p(text))

    def function(self, module: int, name: str) -> int:
        return self.get("cuModuleGetFunction", module, C.c_char_p(name.encode()))

    def write(self, pointer: int, data: bytes) -> None:
        self.call("cuMemcpyHtoD_v2", pointer, C.c_char_p(data), len(data))

    def read(self, pointer: int, size: int) -> bytes:
        buffer = C.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", buffer, pointer, size)
        return buffer.raw

    def launch(self, function: int, grid: int, block: int, *arguments: object, stream: int = 0) -> None:
        values = [C.c_uint64(a) if isinstance(a, int) else a for a in arguments]
        pointers = (C.c_void_p * (len(values) + 1))(*[C.addressof(v) for v in values])  # type: ignore[arg-type]
        sizes = itertools.chain((grid, 1, 1, block, 1, 1, 0))
        self.call("cuLaunchKernel", function, *map(C.c_uint, sizes), stream, pointers, None)


def passed(argument: object) -> object:
    """Integers are handles, pointers and sizes: 64 bits. Others go as they are."""
    return C.c_uint64(argument) if isinstance(argument, int) else argument
