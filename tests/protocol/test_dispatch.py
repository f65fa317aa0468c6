"""The engine's generated dispatch: round trip, truncation, forged handles, device memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.protocol import harness

EMPTY_DRIVER = """
int cuGetProcAddress_v2(const char *symbol, void **pfn, int version, unsigned long flags, void *status);
int cuGetProcAddress_v2(const char *symbol, void **pfn, int version, unsigned long flags, void *status) {
  (void)symbol, (void)version, (void)flags, (void)status;
  *pfn = 0;
  return 500;
}
"""


@pytest.mark.parametrize("part", ["golden", "sizes", "unknown", "forged", "memory", "noise"])
def test_dispatch(part: str, package: Path, recorder: Path) -> None:
    harness.dispatch_program(part, package, recorder)


def test_a_driver_without_a_call_gives_not_supported(package: Path, tmp_path: Path) -> None:
    source = tmp_path / "empty.c"
    source.write_text(EMPTY_DRIVER)
    driver = harness.compile_c(tmp_path / "libcuda.so.1", source, options=["-shared"])
    harness.dispatch_program("missing", package, driver)
