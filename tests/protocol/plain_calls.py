"""Every call that is generated from the table, through the libcuda.so.1 of the process: prints what worked.

A program, run on the software GPU directly and through Remora."""

import ctypes
from ctypes import byref, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_ushort, c_void_p

driver = ctypes.CDLL("libcuda.so.1")
INVALID_VALUE = 1
KERNEL = b".version 7.0\n.target sm_52\n.address_size 64\n.visible .entry kernel(.param .u64 a) { ret; }\n"
BYTES = 4096
context, stream, begin, end, module, function = (c_void_p() for _ in range(6))
address, number, size, time = c_uint64(), c_int(), c_size_t(), c_float(-1)
host = (c_ubyte * BYTES)()


def call(name: str, *arguments: object, expected: int = 0) -> None:
    result = getattr(driver, name)(*arguments)
    if result != expected:
        raise SystemExit(f"{name}: {result}, not {expected}")
    print(name)


def expect(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise SystemExit(f"{what}: {got!r}, not {wanted!r}")


def memory() -> bytes:
    call("cuMemcpyDtoH_v2", host, address, c_size_t(BYTES))
    return bytes(host)


def prepare() -> None:
    call("cuInit", 0)
    call("cuDevicePrimaryCtxRetain", byref(context), 0)
    call("cuCtxSetCurrent", context)
    call("cuMemAlloc_v2", byref(address), c_size_t(BYTES))
    call("cuStreamCreate", byref(stream), 1)
    call("cuEventCreate", byref(begin), 0)
    call("cuEventCreate", byref(end), 0)


def settings() -> None:
    call("cuCtxGetLimit", byref(size), 1)
    call("cuCtxSetLimit", 1, size)
    for name in ("CacheConfig", "SharedMemConfig"):
        optional(f"cuCtxGet{name}", byref(number))
        optional(f"cuCtxSet{name}", 1)
    call("cuCtxResetPersistingL2Cache")
    call("cuCtxSynchronize")


def optional(name: str, *arguments: object) -> None:
    """A call that a driver may refuse: CUDA 13 dropped banks of shared memory."""
    posted, later = getattr(driver, name)(*arguments), driver.cuCtxSynchronize()
    expect(name, {posted, later} <= {0, 801}, True)
    print(name)


def fills() -> None:
    call("cuMemsetD8_v2", address, c_ubyte(1), c_size_t(BYTES))
    expect("D8", memory(), b"\1" * BYTES)
    call("cuMemsetD16_v2", address, c_ushort(0x0302), c_size_t(BYTES // 2))
    expect("D16", memory(), b"\2\3" * (BYTES // 2))
    call("cuMemsetD32_v2", address, c_uint(0x07060504), c_size_t(BYTES // 4))
    expect("D32", memory(), bytes([4, 5, 6, 7]) * (BYTES // 4))
    row = bytearray(memory()[:64])
    for kind, value, pattern in (
        ("D2D8", c_ubyte(9), b"\x09"),
        ("D2D16", c_ushort(0x0B0A), b"\x0a\x0b"),
        ("D2D32", c_uint(0x0F0E0D0C), b"\x0c\x0d\x0e\x0f"),
    ):
        call(f"cuMemset{kind}_v2", address, c_size_t(64), value, c_size_t(3), c_size_t(BYTES // 64))
        row[: 3 * len(pattern)] = 3 * pattern
        expect(kind, memory(), bytes(row) * (BYTES // 64))


def asynchronous_fills() -> None:
    for kind, value, count in (
        ("D8", c_ubyte(1), BYTES),
        ("D16", c_ushort(2), BYTES // 2),
        ("D32", c_uint(3), BYTES // 4),
    ):
        call(f"cuMemset{kind}Async_ptsz", address, value, c_size_t(count), None)
        call("cuStreamSynchronize_ptsz", None)
        expect(kind, memory(), value.value.to_bytes(BYTES // count, "little") * count)
    for kind, value in (("D2D8", c_ubyte(1)), ("D2D16", c_ushort(1)), ("D2D32", c_uint(1))):
        call(f"cuMemset{kind}Async", address, c_size_t(64), value, c_size_t(1), c_size_t(1), stream)
    call("cuStreamSynchronize", stream)


def copies() -> None:
    half = c_uint64(address.value + BYTES // 2)
    call("cuMemsetD8_v2", address, c_ubyte(7), c_size_t(BYTES // 2))
    call("cuMemsetD8_v2", half, c_ubyte(8), c_size_t(BYTES // 2))
    call("cuMemcpyDtoDAsync_v2", half, address, c_size_t(16), None)
    call("cuMemcpyPeerAsync", address, context, half, context, c_size_t(32), None)
    expect("copies", memory()[:33], b"\7" * 16 + b"\10" * 16 + b"\7")


def events() -> None:
    call("cuEventRecord", begin, stream)
    call("cuEventRecord", end, stream)
    call("cuStreamWaitEvent", stream, end, 0)
    call("cuStreamSynchronize", stream)
    call("cuEventElapsedTime_v2", byref(time), begin, end)
    expect("elapsed time", time.value >= 0, True)


def functions() -> None:
    call("cuModuleLoadData", byref(module), KERNEL)
    call("cuModuleGetFunction", byref(function), module, b"kernel")
    call("cuFuncLoad", function)
    call("cuFuncIsLoaded", byref(number), function)
    expect("loaded", number.value, 1)
    call("cuFuncSetCacheConfig", function, 1)
    optional("cuFuncSetSharedMemConfig", function, 1)
    call("cuOccupancyMaxActiveBlocksPerMultiprocessor", byref(number), function, 128, c_size_t(0))
    expect("blocks", number.value > 0, True)
    call("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", byref(number), function, 128, c_size_t(0), 0)
    call("cuOccupancyAvailableDynamicSMemPerBlock", byref(size), function, 1, 128)
    expect("shared memory", size.value > 0, True)


def errors() -> None:
    """A fill beyond the allocation: told at once, or by the next call that waits, and then no more."""
    outside = driver.cuMemsetD8_v2(address, c_ubyte(1), c_size_t(1 << 44))
    later = driver.cuCtxSynchronize()
    expect("a fill outside", (outside or later), INVALID_VALUE)
    call("cuCtxSynchronize")
    call("cuCtxGetLimit", byref(size), 9999, expected=215)


for part in (prepare, settings, fills, asynchronous_fills, copies, events, functions, errors):
    part()
