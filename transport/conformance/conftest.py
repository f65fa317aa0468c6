"""For runs of the suite by itself: python -m remora.transport.conformance NAME."""

from __future__ import annotations

import pytest

from remora.transport.conformance.backend import wanted
from remora.transport.conformance.fixtures import backend, forked_peer, pair, raw_pair

__all__ = ["backend", "forked_peer", "pair", "raw_pair"]

# Streams are what transports written in Python have.
collect_ignore = [] if any(":" in name for name in wanted("")) else ["test_streams.py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", list(wanted("tcp")), indirect=True)
