"""What a driver says about its devices: asked once by each worker as it warms up.

Must not know: leases, the wire.
"""

from __future__ import annotations

from typing import Any

from .errors import EngineError

DRIVER_LEAST = 12040  # CUDA version of the oldest driver that has every function the engine needs
MAX_ATTRIBUTES = 256  # of a device; indexed by CUdevice_attribute, unknown ones 0


def _ok(result: tuple[Any, ...], what: str) -> Any:
    if int(result[0]) != 0:
        raise EngineError(f"the driver fails at {what}: {result[0].name} ({int(result[0])})")
    return result[1] if len(result) > 1 else None


def gather() -> dict[str, Any]:
    """Driver version and devices, ready for JSON. Raises EngineError when the driver can't start."""
    from cuda.bindings import driver

    _ok(driver.cuInit(0), "cuInit")
    version = _ok(driver.cuDriverGetVersion(), "cuDriverGetVersion")
    if version < DRIVER_LEAST:
        raise EngineError(
            f"the driver is for CUDA {_dotted(version)}; the engine needs {_dotted(DRIVER_LEAST)} or newer: "
            "update the NVIDIA driver (550 or newer)"
        )
    count = _ok(driver.cuDeviceGetCount(), "cuDeviceGetCount")
    if count == 0:
        raise EngineError("the driver has no devices")
    return {
        "driver_version": version,
        "devices": [_device(driver, index) for index in range(count)],
    }


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _device(driver: Any, index: int) -> dict[str, Any]:
    handle = _ok(driver.cuDeviceGet(index), "cuDeviceGet")
    name = _ok(driver.cuDeviceGetName(256, handle), "cuDeviceGetName")
    return {
        "name": name.split(b"\0", 1)[0].decode(errors="replace"),
        "uuid": bytes(_ok(driver.cuDeviceGetUuid(handle), "cuDeviceGetUuid").bytes).hex(),
        "memory": _ok(driver.cuDeviceTotalMem(handle), "cuDeviceTotalMem"),
        "pci": _pci(driver, handle),
        "attributes": _attributes(driver, handle),
    }


def _pci(driver: Any, handle: Any) -> str:
    status, text = driver.cuDeviceGetPCIBusId(64, handle)
    return text.split(b"\0", 1)[0].decode() if int(status) == 0 else ""


def _attributes(driver: Any, handle: Any) -> list[int]:
    values = [0] * MAX_ATTRIBUTES
    for attribute in driver.CUdevice_attribute:
        if 0 < int(attribute) < MAX_ATTRIBUTES:
            status, value = driver.cuDeviceGetAttribute(attribute, handle)
            values[int(attribute)] = value if int(status) == 0 else 0
    return values[: max((i for i, value in enumerate(values) if value), default=0) + 1]
