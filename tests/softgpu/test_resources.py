"""What a program may ask about resources: pools, occupancy, attributes, modules with nothing in them."""

from __future__ import annotations

import ctypes as C

import pytest

from tests.softgpu import driver as cuda
from tests.softgpu.driver import CudaError, Driver

KIB = 1 << 10
USED, USED_HIGH, THRESHOLD = 7, 8, 4  # CUmemPool_attribute
MANAGED_MEMORY, CONCURRENT_MANAGED, CAN_MAP_HOST = 83, 89, 19  # CUdevice_attribute
IS_MANAGED, HOST_POINTER = 8, 4  # CUpointer_attribute


class PoolProps(C.Structure):
    """CUmemPoolProps: pinned memory of one device, no handles."""

    _fields_ = (("kind", C.c_int), ("handles", C.c_int), ("place", C.c_int), ("device", C.c_int)) + (
        ("security", C.c_void_p),
        ("most", C.c_size_t),
        ("usage", C.c_ushort),
        ("reserved", C.c_ubyte * 54),
    )


def pool_attribute(gpu: Driver, pool: int, which: int) -> int:
    value = C.c_uint64()
    gpu.call("cuMemPoolGetAttribute", pool, C.c_int(which), C.byref(value))
    return value.value


def test_a_pool_counts_what_is_taken_from_it(gpu: Driver) -> None:
    pool = gpu.get("cuMemPoolCreate", C.byref(PoolProps(kind=1, place=1)))
    pointers = []
    for _ in range(3):
        pointer = C.c_uint64()
        gpu.call("cuMemAllocFromPoolAsync", C.byref(pointer), 64 * KIB, pool, 0)
        pointers.append(pointer.value)
    assert pool_attribute(gpu, pool, USED) == 3 * 64 * KIB
    for pointer in pointers[:2]:
        gpu.call("cuMemFreeAsync", C.c_uint64(pointer), 0)
    gpu.call("cuStreamSynchronize", 0)
    assert pool_attribute(gpu, pool, USED) == 64 * KIB
    assert pool_attribute(gpu, pool, USED_HIGH) == 3 * 64 * KIB
    gpu.call("cuMemPoolSetAttribute", pool, C.c_int(USED_HIGH), C.byref(C.c_uint64(0)))
    assert pool_attribute(gpu, pool, USED_HIGH) == 64 * KIB
    gpu.call("cuMemPoolSetAttribute", pool, C.c_int(THRESHOLD), C.byref(C.c_uint64(12345)))
    assert pool_attribute(gpu, pool, THRESHOLD) == 12345
    gpu.call("cuMemFreeAsync", C.c_uint64(pointers[2]), 0)
    gpu.call("cuStreamSynchronize", 0)
    gpu.call("cuMemPoolDestroy", pool)
    assert gpu.status("cuMemPoolTrimTo", pool, 0) == cuda.INVALID_VALUE


@pytest.mark.parametrize(
    ("threads", "shared", "blocks"),
    [(1024, 0, 1), (768, 0, 2), (128, 0, 12), (32, 0, 24), (32, 40 * KIB, 2), (32, 10 * KIB, 9)],
)
def test_occupancy_follows_threads_and_shared_memory(
    gpu: Driver, threads: int, shared: int, blocks: int
) -> None:
    function = gpu.function(gpu.module(cuda.PTX), "add")
    found = C.c_int()
    name = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
    gpu.call(name, C.byref(found), function, C.c_int(threads), C.c_size_t(shared))
    assert found.value == blocks


def test_occupancy_of_too_many_threads_is_none(gpu: Driver) -> None:
    function = gpu.function(gpu.module(cuda.PTX), "add")
    found = C.c_int(7)
    name = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
    status = gpu.status(name, C.byref(found), function, C.c_int(4096), C.c_size_t(0))
    assert status == cuda.INVALID_VALUE or found.value == 0


def test_the_best_block_fills_the_device(gpu: Driver) -> None:
    function = gpu.function(gpu.module(cuda.PTX), "add")
    grid, block = C.c_int(), C.c_int()
    gpu.call(
        "cuOccupancyMaxPotentialBlockSize", C.byref(grid), C.byref(block), function, None, C.c_size_t(0), 0
    )
    processors = gpu.attribute(16)
    assert block.value == 768 and grid.value == 2 * processors


def test_managed_memory_says_so(gpu: Driver) -> None:
    assert gpu.attribute(MANAGED_MEMORY) == gpu.attribute(CAN_MAP_HOST) == 1
    assert gpu.attribute(CONCURRENT_MANAGED) == 1  # here host and kernels use the same bytes
    pointer = gpu.get("cuMemAllocManaged", 1000, C.c_uint(1))
    managed, host = C.c_uint(), C.c_uint64()
    gpu.call("cuPointerGetAttribute", C.byref(managed), C.c_int(IS_MANAGED), C.c_uint64(pointer))
    gpu.call("cuPointerGetAttribute", C.byref(host), C.c_int(HOST_POINTER), C.c_uint64(pointer))
    assert managed.value == 1 and host.value == pointer
    C.memset(pointer, 7, 1000)
    assert gpu.read(pointer, 1000) == bytes([7]) * 1000
    assert gpu.status("cuMemAllocManaged", C.byref(host), 1000, C.c_uint(4)) == cuda.INVALID_VALUE
    gpu.call("cuMemFree_v2", pointer)


BOUNDED = """
.version 7.0
.target sm_75
.address_size 64
.const .align 4 .b8 table[400];
.visible .entry small() BOUND { ret; }
"""


@pytest.mark.parametrize(
    "bound", [".maxntid 128, 1, 1", ".reqntid 128, 1, 1", ".maxntid 64, 2, 1\n.minnctapersm 2"]
)
def test_a_kernel_with_launch_bounds(gpu: Driver, bound: str) -> None:
    function = gpu.function(gpu.module(BOUNDED.replace("BOUND", bound)), "small")
    most, constant = C.c_int(), C.c_int()
    gpu.call("cuFuncGetAttribute", C.byref(most), C.c_int(0), function)
    gpu.call("cuFuncGetAttribute", C.byref(constant), C.c_int(2), function)
    assert (most.value, constant.value) == (128, 400)
    gpu.launch(function, 1, 128)
    with pytest.raises(CudaError, match=r"error 1$"):
        gpu.launch(function, 1, 129)


@pytest.mark.parametrize("text", [".version 7.0\n.target sm_75\n.address_size 64\n"])
def test_a_module_with_nothing_in_it_is_a_module(gpu: Driver, text: str) -> None:
    module = gpu.module(text)
    assert gpu.get("cuModuleGetFunctionCount", module, kind=C.c_uint) == 0
    gpu.call("cuModuleUnload", module)
