"""Exports and cuGetProcAddress: every symbol of the header, reached by base name, ABI version and flags."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from remora.shim.gen import errors, facts, procs, symbols, table
from tests.protocol import harness

FACTS = facts.load()
TABLE = table.load(FACTS)
LEGACY, PER_THREAD = 0, 2
NOT_FOUND, NOT_SUPPORTED = 500, 801
SYMBOL_NOT_FOUND, VERSION_NOT_SUFFICIENT = 1, 2


@pytest.fixture(scope="module")
def library(recorder: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(recorder))


def lookup(library: ctypes.CDLL, name: str, version: int, flags: int) -> tuple[int, int | None, int]:
    entry, status = ctypes.c_void_p(), ctypes.c_int(-1)
    result = library.cuGetProcAddress_v2(
        name.encode(), ctypes.byref(entry), version, ctypes.c_uint64(flags), ctypes.byref(status)
    )
    return result, entry.value, status.value


def address(library: ctypes.CDLL, symbol: str) -> int | None:
    return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value


def test_the_header_has_637_symbols_of_450_names() -> None:
    assert len(FACTS.functions) == 637
    assert len(FACTS.bases) == 450


def test_exactly_the_headers_symbols_are_exported(tmp_path: Path) -> None:
    libraries = harness.recorder(tmp_path / "checked.so"), harness.GENERATED / "libcuda.map"
    exported = harness.run("nm", "-D", "--defined-only", libraries[0]).split()[2::3]
    assert set(exported) - {"recorded", "recorder_clear"} == set(FACTS.functions)
    listed = {line.strip().rstrip(";") for line in libraries[1].read_text().splitlines() if "cu" in line}
    assert set(FACTS.functions) <= listed


def test_every_abi_is_found_at_its_own_version(library: ctypes.CDLL) -> None:
    for f in FACTS.functions.values():
        flags = PER_THREAD if f.per_thread else LEGACY
        assert lookup(library, f.base, f.abi, flags) == (0, address(library, f.symbol), 0), f.symbol


def test_the_newest_abi_that_is_not_newer_is_chosen(library: ctypes.CDLL) -> None:
    for base, versions in FACTS.bases.items():
        legacy = sorted((procs.since(f), f.symbol) for f in versions if not f.per_thread)
        for (since, symbol), following in zip(legacy, [*legacy[1:], (10**6, "")], strict=True):
            for version in (since, following[0] - 1):
                assert lookup(library, base, version, LEGACY)[1] == address(library, symbol), (base, version)


def test_a_per_thread_variant_is_preferred_and_a_legacy_one_serves_where_there_is_none(
    library: ctypes.CDLL,
) -> None:
    assert lookup(library, "cuLaunchKernel", 12000, PER_THREAD)[1] == address(library, "cuLaunchKernel_ptsz")
    assert lookup(library, "cuLaunchKernel", 12000, LEGACY)[1] == address(library, "cuLaunchKernel")
    assert lookup(library, "cuMemAlloc", 12000, PER_THREAD)[1] == address(library, "cuMemAlloc_v2")
    assert lookup(library, "cuMemcpyHtoD", 3020, PER_THREAD)[1] == address(library, "cuMemcpyHtoD_v2")


def test_a_version_before_the_first_abi_is_not_sufficient(library: ctypes.CDLL) -> None:
    assert lookup(library, "cuLaunchKernel", 3000, LEGACY) == (NOT_FOUND, None, VERSION_NOT_SUFFICIENT)


@pytest.mark.parametrize("name", ["", "cuNothing", "cu", "cuMemAlloc_v2", "zzz"])
def test_a_name_that_the_header_lacks_is_not_found(library: ctypes.CDLL, name: str) -> None:
    assert lookup(library, name, 13000, LEGACY) == (NOT_FOUND, None, SYMBOL_NOT_FOUND)


def test_wrong_flags_and_missing_pointers_are_refused(library: ctypes.CDLL) -> None:
    assert lookup(library, "cuInit", 13000, 7)[0] == 1
    assert library.cuGetProcAddress_v2(None, None, 13000, ctypes.c_uint64(0), None) == 1


def test_an_unsupported_call_says_so(library: ctypes.CDLL) -> None:
    missing = next(n for n in sorted(FACTS.functions) if symbols.mode(TABLE, n) == "none")
    assert getattr(library, missing)() == NOT_SUPPORTED


def test_abis_of_32_bit_pointers_are_not_supported() -> None:
    for old in ("cuMemAlloc", "cuMemcpyHtoD", "cuMemGetInfo", "cuMemsetD8", "cuDeviceTotalMem"):
        assert symbols.mode(TABLE, old) == "none"
    assert symbols.mode(TABLE, "cuCtxDestroy") == "manual"


def test_per_thread_variants_name_the_per_thread_stream(library: ctypes.CDLL) -> None:
    library.recorded.restype = ctypes.c_char_p
    for symbol, stream in (
        ("cuMemsetD32Async", 0),
        ("cuMemsetD32Async_ptsz", 2),
        ("cuMemsetD32_v2_ptds", 2),
        ("cuMemsetD32_v2", 0),
    ):
        library.recorder_clear()
        getattr(library, symbol)(ctypes.c_uint64(4096), 7, ctypes.c_size_t(3), None)
        assert library.recorded().decode() == f"cuMemsetD32Async 4096 7 3 {stream}"
    library.recorder_clear()
    library.cuMemsetD32Async_ptsz(ctypes.c_uint64(4096), 7, ctypes.c_size_t(3), ctypes.c_void_p(1))
    assert library.recorded().decode() == "cuMemsetD32Async 4096 7 3 1"  # the legacy stream, by its name


def test_every_result_has_a_name_and_a_text(library: ctypes.CDLL) -> None:
    out = ctypes.c_char_p()
    for name in errors.results(FACTS):
        assert library.cuGetErrorName(FACTS.enumerators[name], ctypes.byref(out)) == 0
        assert out.value == name.encode()
        assert library.cuGetErrorString(FACTS.enumerators[name], ctypes.byref(out)) == 0
        assert out.value
    assert library.cuGetErrorName(123456, ctypes.byref(out)) == 1 and out.value is None
