"""The suite's fixtures: the backends to test, and pairs of ends over them."""

from __future__ import annotations

from typing import Any

import pytest

from remora.transport._channel import Channel

from . import ends
from .backend import Backend, Raw, named


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """The transport under test."""
    return named(request.param)


@pytest.fixture
def pair(backend: Backend) -> ends.Pair:
    return lambda **options: ends.make_pair(backend, **options)


@pytest.fixture
def raw_pair(backend: Backend) -> ends.RawPair:
    def make(**options: Any) -> tuple[Channel, Raw]:
        made = ends.make_raw_pair(backend, **options)
        if made is None:
            pytest.skip(f"{backend.name} has no bare frames that a test could write: does not apply")
        return made

    return make


@pytest.fixture
def forked_peer(backend: Backend) -> ends.ForkedPeer:
    def make(work: Any, client: bool, **options: Any) -> tuple[Channel, int]:
        return (ends.accept_from if client else ends.connect_to)(backend, work, options)

    return make
