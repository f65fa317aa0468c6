"""Pairs of queue pairs that are closed in order; and no test of this folder outside a guest.

Tests here take network cards down and change how they send: on a machine in use that would cut it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.rdma import in_guest
from tests.rdma.verbs import End, connect

if not in_guest():
    raise RuntimeError("tests/rdma/inside runs in a guest only: python -m tests.rdma")

Pair = Callable[..., tuple[End, End]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Makes two connected ends: pair(), pair("rxe1", "rxe2"), pair(inline=256)."""
    with ExitStack() as open_ends:

        def make(device: str = "rxe0", other: str | None = None, **options: Any) -> tuple[End, End]:
            a = open_ends.enter_context(closing(End(device, **options)))
            b = open_ends.enter_context(closing(End(other or device, **options)))
            connect(a, b)
            return a, b

        yield make
