"""What the software GPU's library is told in this process.

It reads its settings once, when it is loaded, so that all tests that load it here use these.
Knows nothing of the tests.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ.get("REMORA_TEST_SOFTGPU", ROOT / "engine/softgpu/lib/libcuda.so.1"))
_told: dict[str, str] = {}


def settings(folders: pytest.TempPathFactory) -> dict[str, str]:
    """The same at every call, and in this process's environment; the cache is the run's own."""
    if not _told:
        _told.update(
            REMORA_SOFTGPU_PYTHON=sys.executable,
            REMORA_SOFTGPU_CACHE=str(folders.mktemp("softgpu") / "cache"),
            REMORA_SOFTGPU_DEVICES="2",
            REMORA_SOFTGPU_MEMORY_MIB="256",
        )
        os.environ.update(_told)
    return dict(_told)
