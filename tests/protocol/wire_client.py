"""Run with the shim as its libcuda.so.1: a few driver calls with known arguments; prints the answers."""

import ctypes
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_uint64, c_ushort, c_void_p

driver = ctypes.CDLL("libcuda.so.1")


def call(name: str, *arguments: object) -> None:
    result = getattr(driver, name)(*arguments)
    if result:
        raise SystemExit(f"{name}: {result}")


context, stream, event, limit, address, elapsed = (
    c_void_p(), c_void_p(), c_void_p(), c_size_t(), c_uint64(), c_float(),
)  # fmt: skip
call("cuInit", 0)
call("cuDevicePrimaryCtxRetain", byref(context), 0)
call("cuCtxSetCurrent", context)
call("cuCtxGetLimit", byref(limit), 1)
call("cuMemAlloc_v2", byref(address), c_size_t(4096))
call("cuStreamCreateWithPriority", byref(stream), 1, -1)
call("cuEventCreate", byref(event), 2)
call("cuMemcpyHtoD_v2", address, b"remora" * 10, c_size_t(60))
call("cuMemsetD32Async", address, c_uint(0x01020304), c_size_t(77), stream)
call("cuMemsetD32_v2_ptds", address, c_uint(5), c_size_t(6))
call("cuMemsetD2D16Async", address, c_size_t(64), c_ushort(9), c_size_t(3), c_size_t(4), None)
call("cuEventRecord", event, stream)
call("cuStreamWaitEvent", stream, event, c_uint(0))
call("cuEventElapsedTime_v2", byref(elapsed), event, event)
attribute = c_int()
call("cuDeviceGetAttribute", byref(attribute), 16, 0)
print(limit.value, hex(address.value), elapsed.value, attribute.value)
