"""The driver API called directly: memory, modules, streams, errors."""

from __future__ import annotations

import ctypes as C
import mmap
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.softgpu import driver as cuda
from tests.softgpu.driver import CudaError, Driver

MIB = 1 << 20


def fails_with(code: int) -> object:
    return pytest.raises(CudaError, match=f"error {code}$")


# ---- devices


def test_the_device_says_what_it_is(gpu: Driver) -> None:
    name = C.create_string_buffer(100)
    gpu.call("cuDeviceGetName", name, C.c_int(100), C.c_int(0))
    assert b"Software GPU" in name.value and b"not a real GPU" in name.value
    assert gpu.get("cuDeviceGetCount", kind=C.c_int) == 2
    assert gpu.attribute(75) == 12 and gpu.attribute(10) == 32  # compute capability, warp size
    with fails_with(101):
        gpu.attribute(10, device=2)


def test_devices_differ_in_identity(gpu: Driver) -> None:
    ids = [C.create_string_buffer(16) for _ in range(2)]
    for i, uuid in enumerate(ids):
        gpu.call("cuDeviceGetUuid_v2", uuid, C.c_int(i))
    assert ids[0].raw != ids[1].raw and gpu.attribute(33, 0) != gpu.attribute(33, 1)


# ---- memory


def test_memory_is_accounted_exactly(gpu: Driver) -> None:
    def free_bytes() -> int:
        free, total = C.c_size_t(), C.c_size_t()
        gpu.call("cuMemGetInfo_v2", C.byref(free), C.byref(total))
        assert total.value == 256 * MIB
        return free.value

    before = free_bytes()
    pointer = gpu.get("cuMemAlloc_v2", 100 * MIB)
    assert free_bytes() == before - 100 * MIB
    with fails_with(cuda.OUT_OF_MEMORY):
        gpu.get("cuMemAlloc_v2", before)
    gpu.call("cuMemFree_v2", pointer)
    assert free_bytes() == before
    with fails_with(cuda.INVALID_VALUE):
        gpu.call("cuMemFree_v2", pointer)


def test_copies_and_fills_of_rows(gpu: Driver) -> None:
    pitch = C.c_size_t()
    pointer = gpu.get("cuMemAllocPitch_v2", C.byref(pitch), 100, 7, C.c_uint(4))
    gpu.call("cuMemsetD2D8_v2", pointer, pitch.value, C.c_ubyte(9), 100, 7)
    data = gpu.read(pointer, 6 * pitch.value + 100)
    assert pitch.value == 512 and data.count(9) == 700
    gpu.call("cuMemsetD32_v2", pointer, C.c_uint(0x01020304), 25)
    assert gpu.read(pointer, 100) == bytes([4, 3, 2, 1]) * 25
    with fails_with(cuda.INVALID_VALUE):
        gpu.write(pointer, b"x" * (7 * pitch.value + 1))


def test_pointer_attributes(gpu: Driver) -> None:
    pointer = gpu.get("cuMemAlloc_v2", 1000)
    host = gpu.get("cuMemHostAlloc", 100, C.c_uint(0))
    for address, memory in ((pointer + 5, 2), (host + 5, 1)):
        kind = C.c_uint()
        gpu.call("cuPointerGetAttribute", C.byref(kind), C.c_int(2), address)
        assert kind.value == memory
    base, size = C.c_uint64(), C.c_size_t()
    gpu.call("cuMemGetAddressRange_v2", C.byref(base), C.byref(size), pointer + 999)
    assert (base.value, size.value) == (pointer, 1000)
    with fails_with(cuda.INVALID_VALUE):
        gpu.call("cuPointerGetAttribute", C.byref(kind), C.c_int(2), 4096)
    gpu.call("cuMemFreeHost", host)


def test_stream_ordered_allocation(gpu: Driver) -> None:
    stream = gpu.get("cuStreamCreate", C.c_uint(1))
    for _ in range(20):  # more than there is memory for, were it not freed in between
        pointer = gpu.get("cuMemAllocAsync", 100 * MIB, stream)
        gpu.call("cuMemsetD8Async", pointer, C.c_ubyte(1), 1000, stream)
        gpu.call("cuMemFreeAsync", pointer, stream)
    gpu.call("cuStreamSynchronize", stream)
    pool, used = gpu.get("cuDeviceGetDefaultMemPool", C.c_int(0)), C.c_uint64(1)
    gpu.call("cuMemPoolGetAttribute", pool, C.c_int(7), C.byref(used))
    assert used.value == 0


class Location(C.Structure):
    _fields_ = [("type", C.c_int), ("id", C.c_int)]


class Properties(C.Structure):
    _fields_ = [
        ("type", C.c_int),
        ("handles", C.c_int),
        ("location", Location),
        ("meta", C.c_void_p),
        ("flags", C.c_uint64),
    ]


class Access(C.Structure):
    _fields_ = [("location", Location), ("flags", C.c_int)]


def test_memory_mapped_at_a_hinted_address(gpu: Driver) -> None:
    hint, piece = 0x300000000000, 2 * MIB
    properties = Properties(1, 0, Location(1, 0), None, 0)
    base = gpu.get("cuMemAddressReserve", 4 * piece, 0, hint, 0)
    assert base == hint
    handles = [gpu.get("cuMemCreate", piece, C.byref(properties), 0) for _ in range(2)]
    for i, handle in enumerate(handles):
        gpu.call("cuMemMap", base + i * piece, piece, 0, handle, 0)
        gpu.call("cuMemRelease", handle)
    access = Access(Location(1, 0), 3)
    gpu.call("cuMemSetAccess", base, 2 * piece, C.byref(access), 1)
    gpu.write(base + piece - 50, bytes(range(100)))  # over both pieces
    assert gpu.read(base + piece - 50, 100) == bytes(range(100))
    with fails_with(cuda.INVALID_VALUE):
        gpu.read(base + 2 * piece - 1, 2)
    with fails_with(cuda.INVALID_VALUE):
        gpu.call("cuMemUnmap", base, piece // 2)
    gpu.call("cuMemUnmap", base, 2 * piece)
    gpu.call("cuMemAddressFree", base, 4 * piece)


def huge_bytes(address: int) -> int:
    """What of the mapping at this address is mapped by huge pages."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            inside = int(words[0].split("-")[0], 16) == address
        elif inside and words[0] == "ShmemPmdMapped:":
            return int(words[1]) * 1024
    return 0


def system_gives_huge_pages(at: int, size: int) -> bool:
    """Whether it does so for a file in memory mapped at this address, one page of which is there."""
    libc = C.CDLL(None)
    libc.mmap.restype = C.c_void_p
    file = os.memfd_create("probe")
    os.ftruncate(file, size)
    found = libc.mmap(C.c_void_p(at), C.c_size_t(size), 3, mmap.MAP_SHARED, file, C.c_long(0))
    os.close(file)
    assert found == at
    C.c_char.from_address(at).value = b"1"
    given = libc.madvise(C.c_void_p(at), C.c_size_t(size), 25) == 0  # MADV_COLLAPSE
    libc.munmap(C.c_void_p(at), C.c_size_t(size))
    return bool(given)


def test_fresh_mapped_memory_has_huge_pages_where_the_system_gives_them(gpu: Driver) -> None:
    base, size, page = 0x300000000000, 8 * MIB, 2 * MIB
    properties = Properties(1, 0, Location(1, 0), None, 0)
    assert gpu.get("cuMemAddressReserve", size, 0, base, 0) == base
    access = Access(Location(1, 0), 3)
    handle = gpu.get("cuMemCreate", size, C.byref(properties), 0)
    gpu.call("cuMemMap", base, size, 0, handle, 0)
    gpu.call("cuMemSetAccess", base, size, C.byref(access), 1)
    assert huge_bytes(base) == (size if system_gives_huge_pages(base + 4 * size, page) else 0)
    gpu.write(base + page - 50, bytes(range(100)))
    gpu.call("cuMemSetAccess", base, size, C.byref(access), 1)  # what is there stays
    assert gpu.read(base + page - 50, 100) == bytes(range(100))
    gpu.call("cuMemUnmap", base, size)
    gpu.call("cuMemRelease", handle)
    gpu.call("cuMemAddressFree", base, size)


# ---- modules


def test_kernel_from_ptx_text(gpu: Driver) -> None:
    n = 1000
    add = gpu.function(gpu.module(cuda.PTX), "add")
    pointer = gpu.get("cuMemAlloc_v2", 4 * n)
    gpu.write(pointer, struct.pack(f"{n}i", *range(n)))
    gpu.launch(add, 8, 128, pointer, C.c_uint(n), C.c_uint(5))
    assert struct.unpack(f"{n}i", gpu.read(pointer, 4 * n)) == tuple(i + 5 for i in range(n))


def test_what_a_module_tells(gpu: Driver) -> None:
    module = gpu.module(cuda.PTX)
    add = gpu.function(module, "add")
    layout = []
    for i in range(3):
        offset, size = C.c_size_t(), C.c_size_t()
        gpu.call("cuFuncGetParamInfo", add, i, C.byref(offset), C.byref(size))
        layout.append((offset.value, size.value))
    assert layout == [(0, 8), (8, 4), (12, 4)]
    with fails_with(cuda.INVALID_VALUE):
        gpu.call("cuFuncGetParamInfo", add, 3, C.byref(offset), C.byref(size))
    pointer, size = C.c_uint64(), C.c_size_t()
    gpu.call("cuModuleGetGlobal_v2", C.byref(pointer), C.byref(size), module, C.c_char_p(b"total"))
    assert size.value == 4 and gpu.read(pointer.value, 4) == bytes(4)
    with fails_with(cuda.NOT_FOUND):
        gpu.function(module, "absent")
    assert gpu.get("cuFuncGetAttribute", C.c_int(0), add, kind=C.c_int) == 1024


def test_bad_ptx_names_the_instruction_in_the_log(gpu: Driver) -> None:
    log = C.create_string_buffer(1000)
    options, values = (C.c_int * 2)(5, 6), (C.c_void_p * 2)(C.addressof(log), 1000)
    bad = cuda.PTX.replace("mad.lo.u32", "mud.lo.u32").encode()
    with fails_with(cuda.INVALID_PTX):
        module = gpu.get("cuModuleLoadDataEx", C.c_char_p(bad), C.c_uint(2), options, values)
        gpu.launch(gpu.function(module, "add"), 1, 1, 0, C.c_uint(0), C.c_uint(0))
    if log.value:
        assert b"mud.lo.u32" in log.value


@pytest.mark.parametrize("image", [b"", b"not PTX at all", b"\x7fELF" + bytes(200)])
def test_images_that_are_none(gpu: Driver, image: bytes) -> None:
    with pytest.raises(CudaError) as caught:
        gpu.module(image)
    assert caught.value.code in (200, cuda.NO_BINARY, cuda.INVALID_PTX)


def test_bad_launches_are_refused_at_once(gpu: Driver) -> None:
    nothing = gpu.function(gpu.module(cuda.PTX), "nothing")
    for grid, block in ((0, 1), (1, 0), (1, 1025)):
        with fails_with(cuda.INVALID_VALUE):
            gpu.launch(nothing, grid, block)
    with fails_with(cuda.INVALID_HANDLE):
        gpu.launch(0xDEADBEEF, 1, 1)
    gpu.launch(nothing, 1, 1024)
    gpu.call("cuCtxSynchronize")


LIBRARY_PTX = """
.version 7.0
.target sm_75
.address_size 64
.visible .func (.param .b32 r) seven() { .reg .b32 %r<2>; mov.u32 %r1, 7; st.param.b32 [r], %r1; ret; }
"""
CALLER_PTX = """
.version 7.0
.target sm_75
.address_size 64
.extern .func (.param .b32 r) seven();
.visible .entry store(.param .u64 p)
{
  .reg .b32 %r<2>; .reg .b64 %d<2>; .param .b32 x;
  ld.param.u64 %d1, [p];
  call (x), seven, ();
  ld.param.b32 %r1, [x];
  st.global.u32 [%d1], %r1;
  ret;
}
"""


def test_linked_modules_call_each_other(gpu: Driver) -> None:
    state = C.c_void_p()
    gpu.call("cuLinkCreate_v2", C.c_uint(0), None, None, C.byref(state))
    for text in (CALLER_PTX.encode(), LIBRARY_PTX.encode()):
        gpu.call(
            "cuLinkAddData_v2", state, C.c_int(1), C.c_char_p(text), len(text), None, C.c_uint(0), None, None
        )
    image, size = C.c_void_p(), C.c_size_t()
    gpu.call("cuLinkComplete", state, C.byref(image), C.byref(size))
    store = gpu.function(gpu.get("cuModuleLoadData", image), "store")
    gpu.call("cuLinkDestroy", state)
    pointer = gpu.get("cuMemAlloc_v2", 4)
    gpu.launch(store, 1, 1, pointer)
    assert gpu.read(pointer, 4) == struct.pack("i", 7)


def test_a_library_out_of_a_file(gpu: Driver, tmp_path: Path) -> None:
    (tmp_path / "add.ptx").write_text(cuda.PTX)
    path = C.c_char_p(str(tmp_path / "add.ptx").encode())
    none = (None, None, C.c_uint(0), None, None, C.c_uint(0))
    library = gpu.get("cuLibraryLoadFromFile", path, *none)
    kernel = gpu.get("cuLibraryGetKernel", library, C.c_char_p(b"add"))
    assert kernel
    gpu.call("cuLibraryUnload", library)
    with fails_with(301):
        gpu.get("cuLibraryLoadFromFile", C.c_char_p(b"/nowhere"), *none)


def archive(member: bytes) -> bytes:
    """An archive as `ar` makes it."""
    return b"!<arch>\n" + b"one.o/".ljust(48) + str(len(member)).encode().ljust(10) + b"`\n" + member


def fatbin(text: bytes, kind: int) -> bytes:
    """One entry: kind 1 is PTX, 2 machine code."""
    text += bytes(-len(text) % 8)
    entry = struct.pack("<HHIQIIHHIIIQQQ", kind, 0x101, 64, len(text), 0, 0, 0, 7, 75, 0, 0, 0, 0, 0)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entry + text)) + entry + text


@pytest.mark.parametrize("kind", [1, 2])
def test_libraries_are_linked_by_their_ptx(gpu: Driver, kind: int) -> None:
    """One without PTX, as CUDA's device runtime, is left out: then the function is missing at the launch."""
    library = archive(b"\x7fELF object".ljust(16) + fatbin(LIBRARY_PTX.encode(), kind))
    state = C.c_void_p()
    gpu.call("cuLinkCreate_v2", C.c_uint(0), None, None, C.byref(state))
    text = CALLER_PTX.encode()
    for type_, data in ((1, text), (4, library)):
        part = C.c_char_p(data)
        gpu.call("cuLinkAddData_v2", state, C.c_int(type_), part, len(data), None, C.c_uint(0), None, None)
    image, size = C.c_void_p(), C.c_size_t()
    gpu.call("cuLinkComplete", state, C.byref(image), C.byref(size))
    store = gpu.function(gpu.get("cuModuleLoadData", image), "store")
    gpu.call("cuLinkDestroy", state)
    pointer = gpu.get("cuMemAlloc_v2", 4)
    if kind == 1:
        gpu.launch(store, 1, 1, pointer)
        assert gpu.read(pointer, 4) == struct.pack("i", 7)
    else:
        with fails_with(218):
            gpu.launch(store, 1, 1, pointer)


def service_process(folder: Path) -> int:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(folder / "service.sock"))
        return int(struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def test_a_dead_compile_service_is_started_again(gpu: Driver, settings: dict[str, str]) -> None:
    folder = Path(settings["REMORA_SOFTGPU_CACHE"])
    for by in (1, 2):  # texts that are in no cache
        text = cuda.PTX.replace("total", f"total_{by}")
        gpu.launch(gpu.function(gpu.module(text), "nothing"), 1, 1)
        gpu.call("cuCtxSynchronize")
        os.kill(service_process(folder), signal.SIGKILL)


# ---- streams


def test_threads_share_the_device(gpu: Driver) -> None:
    """Eight threads with a stream each add to ranges of their own, many small launches at a time."""
    context, add = gpu.get("cuCtxGetCurrent"), gpu.function(gpu.module(cuda.PTX), "add")
    results: dict[int, bytes] = {}

    def work(by: int) -> None:
        gpu.call("cuCtxSetCurrent", context)
        stream, pointer = gpu.get("cuStreamCreate", C.c_uint(1)), gpu.get("cuMemAlloc_v2", 4000)
        gpu.call("cuMemsetD8Async", pointer, C.c_ubyte(0), 4000, stream)
        for _ in range(100):
            gpu.launch(add, 8, 128, pointer, C.c_uint(1000), C.c_uint(by), stream=stream)
        gpu.call("cuStreamSynchronize", stream)
        results[by] = gpu.read(pointer, 4000)
        gpu.call("cuStreamDestroy_v2", stream)

    threads = [threading.Thread(target=work, args=(by,)) for by in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert results == {by: struct.pack("i", 100 * by) * 1000 for by in range(8)}


def test_streams_run_at_the_same_time(gpu: Driver) -> None:
    """A host function of one stream waits for one of the other: only concurrent streams end this."""
    reached = threading.Event()
    ended = []
    hook = C.CFUNCTYPE(None, C.c_void_p)
    wait = hook(lambda _: ended.append(reached.wait(20)))
    release = hook(lambda _: reached.set())
    first, second = (gpu.get("cuStreamCreate", C.c_uint(1)) for _ in range(2))
    gpu.call("cuLaunchHostFunc", first, wait, None)
    assert gpu.status("cuStreamQuery", first) == cuda.NOT_READY
    gpu.call("cuLaunchHostFunc", second, release, None)
    gpu.call("cuStreamSynchronize", first)
    assert ended == [True]


def test_a_host_function_may_not_call_cuda(gpu: Driver) -> None:
    answers = []
    hook = C.CFUNCTYPE(None, C.c_void_p)(lambda _: answers.append(gpu.status("cuCtxSynchronize")))
    stream = gpu.get("cuStreamCreate", C.c_uint(0))
    gpu.call("cuLaunchHostFunc", stream, hook, None)
    gpu.call("cuStreamSynchronize", stream)
    assert answers == [cuda.NOT_PERMITTED]


def test_destroyed_handles_are_unknown(gpu: Driver) -> None:
    stream = gpu.get("cuStreamCreate", C.c_uint(0))
    event = gpu.get("cuEventCreate", C.c_uint(0))
    gpu.call("cuStreamDestroy_v2", stream)
    gpu.call("cuEventDestroy_v2", event)
    for call, handle in (
        ("cuStreamSynchronize", stream),
        ("cuEventQuery", event),
        ("cuStreamQuery", event),
        ("cuEventQuery", 12345),
    ):
        assert gpu.status(call, handle) == cuda.INVALID_HANDLE


def test_an_empty_launch_is_quick(gpu: Driver) -> None:
    nothing = gpu.function(gpu.module(cuda.PTX), "nothing")
    times = []
    for _ in range(300):
        start = time.perf_counter()
        gpu.launch(nothing, 1, 1)
        gpu.call("cuCtxSynchronize")
        times.append(time.perf_counter() - start)
    assert sorted(times)[150] < 200e-6  # a thread switch or two more would be 100 us and up


# ---- errors


def test_a_reset_ends_a_sticky_error(gpu: Driver) -> None:
    add = gpu.function(gpu.module(cuda.PTX), "add")
    pointer = gpu.get("cuMemAlloc_v2", 4096)
    gpu.launch(add, 64, 128, pointer, C.c_uint(1 << 20), C.c_uint(1))  # beyond the guard page
    assert gpu.status("cuCtxSynchronize") == cuda.ILLEGAL_ADDRESS
    assert gpu.status("cuMemFree_v2", pointer) == cuda.ILLEGAL_ADDRESS
    assert gpu.get("cuDeviceGetCount", kind=C.c_int) == 2  # no context needed: no error
    gpu.call("cuDevicePrimaryCtxReset_v2", C.c_int(0))
    gpu.get("cuMemAlloc_v2", 4096)


def test_a_forked_child_is_told_and_the_parent_goes_on(gpu: Driver) -> None:
    pointer = gpu.get("cuMemAlloc_v2", 64)
    child = os.fork()
    if child == 0:
        os._exit(gpu.status("cuMemFree_v2", pointer))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3  # CUDA_ERROR_NOT_INITIALIZED
    gpu.call("cuMemFree_v2", pointer)


def test_calls_without_a_context(loaded: Driver) -> None:
    loaded.call("cuCtxSetCurrent", None)
    assert loaded.status("cuMemAlloc_v2", C.byref(C.c_uint64()), 16) == 201
