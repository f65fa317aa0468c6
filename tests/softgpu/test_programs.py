"""Programs built with nvcc, run directly on the software GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ARCHITECTURE = "-arch=compute_80"  # PTX only: what the device compiles


def expect_ok(end: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert end.returncode == 0 and end.stdout.endswith("OK\n"), f"{end.stdout}\n{end.stderr}"
    return end


@pytest.mark.parametrize("runtime", ["static", "shared"])
def test_vector_add(run: Callable, program: Callable, runtime: str) -> None:
    expect_ok(run(program("vector_add", ARCHITECTURE, "-cudart", runtime)))


@pytest.mark.parametrize("name", ["streams", "devices", "adversarial"])
def test_program(run: Callable, program: Callable, name: str) -> None:
    expect_ok(run(program(name, ARCHITECTURE)))


def test_kernels_of_many_kinds(run: Callable, program: Callable) -> None:
    end = expect_ok(run(program("kernels", ARCHITECTURE)))
    assert "hello from 1 of device, 0.50\n" in end.stdout


@pytest.mark.parametrize("workers", ["1", "5"])
@pytest.mark.parametrize("name", ["kernels", "adversarial"])
def test_any_number_of_workers(run: Callable, program: Callable, name: str, workers: str) -> None:
    expect_ok(run(program(name, ARCHITECTURE), REMORA_SOFTGPU_WORKERS=workers))


@pytest.mark.parametrize("fault", ["wild", "null", "beyond", "trap"])
def test_a_fault_is_sticky_and_the_process_lives(run: Callable, program: Callable, fault: str) -> None:
    expect_ok(run(program("faults", ARCHITECTURE), fault))


def test_a_failed_assertion_says_where(run: Callable, program: Callable) -> None:
    end = expect_ok(run(program("faults", ARCHITECTURE), "assert"))
    assert "block: [0,0,0], thread: [0,0,0] Assertion `x == 1` failed." in end.stderr


def test_machine_code_only_is_refused_with_the_remedy(run: Callable, program: Callable) -> None:
    end = run(program("vector_add", "-gencode", "arch=compute_80,code=sm_80"))
    assert end.returncode == 1 and "cudaErrorNoKernelImageForDevice" in end.stdout
    assert "PTX" in end.stderr


def test_without_a_compile_helper_the_error_names_the_setting(
    run: Callable, program: Callable, tmp_path: Path
) -> None:
    end = run(
        program("vector_add", ARCHITECTURE),
        REMORA_SOFTGPU_PYTHON="/nonexistent/python",
        REMORA_SOFTGPU_CACHE=str(tmp_path / "cache"),
    )
    assert end.returncode == 1 and "cudaErrorJitCompilerNotFound" in end.stdout
    assert "REMORA_SOFTGPU_PYTHON" in end.stderr


CUPY = """
import cupy, numpy
x = numpy.random.default_rng(1).random((300, 40), dtype="f4")
d = cupy.asarray(x)
numpy.testing.assert_allclose((d * d + 1).get(), x * x + 1, rtol=1e-6)
numpy.testing.assert_allclose(d.sum(axis=1).get(), x.sum(axis=1), rtol=1e-5)
twice = 'extern "C" __global__ void twice(float *x) { x[blockIdx.x * blockDim.x + threadIdx.x] *= 2; }'
kernel = cupy.RawKernel(twice, "twice")
kernel((120,), (100,), (d,))
numpy.testing.assert_array_equal(d.get(), 2 * x)
print("OK")
"""


def test_cupy(run: Callable, tmp_path: Path) -> None:
    expect_ok(
        run(sys.executable, "-c", CUPY, CUPY_COMPILE_WITH_PTX="1", CUPY_CACHE_DIR=str(tmp_path / "cupy"))
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_streams_of_a_higher_priority_come_first(run: Callable, program: Callable, workers: str) -> None:
    expect_ok(run(program("timing", ARCHITECTURE), "priorities", REMORA_SOFTGPU_WORKERS=workers))


def test_launches_of_a_simulated_device_share_its_multiprocessors(run: Callable, program: Callable) -> None:
    settings = {"REMORA_SOFTGPU_LAUNCH_US": "20000", "REMORA_SOFTGPU_SMS": "4"}
    expect_ok(run(program("timing", ARCHITECTURE), "simulated", **settings))


def test_copies_at_a_set_bandwidth_overlap_in_both_directions(run: Callable, program: Callable) -> None:
    expect_ok(run(program("timing", ARCHITECTURE), "copies", REMORA_SOFTGPU_COPY_MIB_S="100"))
