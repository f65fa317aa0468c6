"""Why a driver call waits for the engine, in words for people. Must not know: how often it did."""

from __future__ import annotations

# By the beginning of the name, the first that fits.
REASONS = (
    ("cuCtxSynchronize", "the program waits until the GPU is done"),
    ("cuStreamSynchronize", "the program waits until its stream is done"),
    ("cuEventSynchronize", "the program waits until its event has come"),
    ("cuEventElapsedTime", "the time is measured on the GPU"),
    ("cuStreamQuery", "asks how far the GPU is"),
    ("cuEventQuery", "asks how far the GPU is"),
    ("cuMemcpyDtoH", "the data must arrive before the call returns"),
    ("cuMemcpyHtoD", "an earlier error or a full queue had to be heard of first"),
    ("cuMemcpy", "the call returns when the copy is done"),
    ("cuMemAlloc", "the address and the quota are the engine's"),
    ("cuMemFreeHost", "copies that use the memory must have ended"),
    ("cuMemHostUnregister", "copies that use the memory must have ended"),
    ("cuMemFree", "the driver waits for the work that may use the memory"),
    ("cuMemGetInfo", "free memory is known to the engine"),
    ("cuModuleLoad", "names, attributes and layouts of the kernels come back"),
    ("cuLibrary", "names, attributes and layouts of the kernels come back"),
    ("cuKernelGet", "the kernel's attributes come back"),
    ("cuFuncGet", "the kernel's attributes come back"),
    ("cuModuleGet", "an address in the module comes back"),
    ("cuOccupancy", "the driver computes it for the kernel"),
    ("cuLink", "the linked image comes back"),
    ("cuDevicePrimaryCtx", "the context is made by the engine"),
    ("cuCtxCreate", "the context is made by the engine"),
    ("cuInit", "connecting: facts about the devices come back"),
)


def why(name: str) -> str:
    """The reason for the round trips of one exported function."""
    return next(
        (reason for prefix, reason in REASONS if name.startswith(prefix)), "the engine's answer is needed"
    )
