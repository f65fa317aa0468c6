"""The suite over what this machine has: tcp and shm; $REMORA_BACKENDS names others (rdma in the guest)."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("remora.transport.conformance")

from remora.transport.conformance.backend import wanted  # noqa: E402
from remora.transport.conformance.fixtures import backend, forked_peer, pair, raw_pair  # noqa: E402

__all__ = ["backend", "forked_peer", "pair", "raw_pair"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", list(wanted("tcp,shm")), indirect=True)
