"""A cuda-python program on the driver API: its kernel compiled with NVRTC, launched, read back."""

import sys
from pathlib import Path

import numpy as np
from cuda.bindings import driver, nvrtc

SOURCE = rb"""
extern "C" __global__ void saxpy(float a, const float *x, const float *y, float *out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = a * x[i] + y[i];
}
"""


def check(result):
    status, *values = result
    if int(status) != 0:
        raise SystemExit(f"driver_api: {status!r}")
    return values[0] if len(values) == 1 else values


def compile_kernel(major, minor):
    program = check(nvrtc.nvrtcCreateProgram(SOURCE, b"saxpy.cu", 0, [], []))
    options = [f"--gpu-architecture=compute_{major}{minor}".encode()]
    check(nvrtc.nvrtcCompileProgram(program, len(options), options))
    ptx = b" " * check(nvrtc.nvrtcGetPTXSize(program))
    check(nvrtc.nvrtcGetPTX(program, ptx))
    return ptx


def main():
    folder = Path(sys.argv[1])
    check(driver.cuInit(0))
    device = check(driver.cuDeviceGet(0))
    context = check(driver.cuDevicePrimaryCtxRetain(device))
    check(driver.cuCtxSetCurrent(context))
    capability = driver.CUdevice_attribute
    major = check(
        driver.cuDeviceGetAttribute(capability.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
    )
    minor = check(
        driver.cuDeviceGetAttribute(capability.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
    )
    module = check(driver.cuModuleLoadData(compile_kernel(major, minor)))
    kernel = check(driver.cuModuleGetFunction(module, b"saxpy"))
    stream = check(driver.cuStreamCreate(0))

    n = 100_003
    x = np.random.default_rng(1).random(n, dtype=np.float32)
    y = np.random.default_rng(2).random(n, dtype=np.float32)
    out = np.zeros_like(x)
    dx, dy, dout = (check(driver.cuMemAlloc(x.nbytes)) for _ in range(3))
    check(driver.cuMemcpyHtoDAsync(dx, x.ctypes.data, x.nbytes, stream))
    check(driver.cuMemcpyHtoDAsync(dy, y.ctypes.data, y.nbytes, stream))
    arguments = [
        np.array([2.5], np.float32),
        *(np.array([int(p)], np.uint64) for p in (dx, dy, dout)),
        np.array([n], np.int32),
    ]
    pointers = np.array([a.ctypes.data for a in arguments], np.uint64)
    check(
        driver.cuLaunchKernel(kernel, (n + 255) // 256, 1, 1, 256, 1, 1, 0, stream, pointers.ctypes.data, 0)
    )
    check(driver.cuMemcpyDtoHAsync(out.ctypes.data, dout, out.nbytes, stream))
    check(driver.cuStreamSynchronize(stream))
    np.save(folder / "out.npy", out)
    for pointer in (dx, dy, dout):
        check(driver.cuMemFree(pointer))
    check(driver.cuStreamDestroy(stream))
    check(driver.cuModuleUnload(module))
    check(driver.cuDevicePrimaryCtxRelease(device))
    print("driver_api: done")


if __name__ == "__main__":
    main()
