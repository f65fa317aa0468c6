"""One to eight devices, copies between them, faults beside other handlers; in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

DEVICES = """
import ctypes as C
from tests.softgpu import process
from tests.softgpu.driver import Driver

gpu = Driver(process.LIBRARY)
gpu.call("cuInit", 0)
count = gpu.get("cuDeviceGetCount", kind=C.c_int)
uuids, places = set(), []
for i in range(count):
    uuid = C.create_string_buffer(16)
    gpu.call("cuDeviceGetUuid_v2", uuid, C.c_int(i))
    uuids.add(uuid.raw)
    gpu.call("cuCtxSetCurrent", gpu.get("cuDevicePrimaryCtxRetain", i))
    places.append(gpu.get("cuMemAlloc_v2", 4096))
    gpu.call("cuMemsetD8_v2", places[-1], C.c_ubyte(i + 1), 4096)
    gpu.call("cuCtxSynchronize")
    free, total = C.c_size_t(), C.c_size_t()
    gpu.call("cuMemGetInfo_v2", C.byref(free), C.byref(total))
    assert total.value - free.value == 4096, "each device has memory of its own"
assert len(uuids) == len(set(places)) == count
for i in range(1, count):
    gpu.call("cuMemcpyDtoD_v2", places[i - 1], places[i], 4096)
    gpu.call("cuCtxSynchronize")
    assert gpu.read(places[i - 1], 4096) == bytes([i + 1]) * 4096
    can = C.c_int()
    gpu.call("cuDeviceCanAccessPeer", C.byref(can), C.c_int(i - 1), C.c_int(i))
    assert can.value == 1
assert gpu.status("cuDeviceGet", C.byref(C.c_int()), C.c_int(count)) == 101
print(count)
"""

FAULTS = """
import ctypes as C, faulthandler, sys
from tests.softgpu import driver as cuda, process
from tests.softgpu.driver import Driver

faulthandler.enable()
gpu = Driver(process.LIBRARY)
gpu.call("cuInit", 0)
for address in (0, 8, 0x180000000000, 0x300000000000, 0x7FFFFFFFF000, 0xDEAD << 48):
    gpu.call("cuCtxSetCurrent", gpu.get("cuDevicePrimaryCtxRetain", 0))
    pointer = gpu.get("cuMemAlloc_v2", 5000)
    add = gpu.function(gpu.module(cuda.PTX), "add")
    where = address or pointer + 8192  # the guard page after what was rounded up to pages
    gpu.launch(add, 1, 32, where, C.c_uint(32), C.c_uint(1))
    assert gpu.status("cuCtxSynchronize") == cuda.ILLEGAL_ADDRESS, hex(where)
    gpu.call("cuDevicePrimaryCtxReset_v2", 0)
print("alive", flush=True)
if sys.argv[1] == "crash":
    C.string_at(0)
"""


@pytest.mark.parametrize("count", [1, 8])
def test_devices_are_apart_and_copy_to_each_other(run: Callable, count: int) -> None:
    end = run(
        sys.executable, "-c", DEVICES, REMORA_SOFTGPU_DEVICES=str(count), REMORA_SOFTGPU_MEMORY_MIB="64"
    )
    assert end.returncode == 0 and end.stdout == f"{count}\n", end.stderr


def test_too_many_devices_are_refused_with_the_bounds(run: Callable) -> None:
    end = run(sys.executable, "-c", DEVICES, REMORA_SOFTGPU_DEVICES="9")
    assert end.stdout == "1\n" and "REMORA_SOFTGPU_DEVICES=9 is not a number from 1 to 8" in end.stderr


def test_wild_pointers_leave_the_process_and_its_fault_handler_alive(run: Callable) -> None:
    end = run(sys.executable, "-c", FAULTS, "live")
    assert end.returncode == 0 and end.stdout == "alive\n" and "Fatal" not in end.stderr, end.stderr
    end = run(sys.executable, "-c", FAULTS, "crash")
    assert end.returncode == -11 and end.stdout == "alive\n"
    assert "Fatal Python error: Segmentation fault" in end.stderr and "string_at" in end.stderr
