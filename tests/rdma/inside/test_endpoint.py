"""remora.transport over RDMA: what tests/transport/test_endpoint.py asks of every transport, and copies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transport import test_endpoint as everywhere

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def pair() -> Iterator[everywhere.Pair]:
    near, far = everywhere.join("rdma")
    assert near.transport == far.transport == "rdma"
    yield near, far
    near.close()
    far.close()


@pytest.mark.parametrize(
    "test",
    [
        everywhere.test_messages_of_all_sizes_arrive_in_order,
        everywhere.test_many_small_messages_go_together,
        everywhere.test_anything_with_a_buffer_is_a_message,
        everywhere.test_iteration_ends_with_the_connection,
        everywhere.test_writes_and_reads_of_all_sizes,
        everywhere.test_numpy_arrays_are_written_and_read_in_place,
        everywhere.test_many_threads_share_an_endpoint,
        everywhere.test_a_waiting_endpoint_sleeps,
        everywhere.test_closing_ends_every_wait_of_other_threads,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_over_rdma(test: object, pair: everywhere.Pair) -> None:
    assert callable(test)
    test(pair)


@pytest.mark.parametrize("size", [100, 3 << 20])
@pytest.mark.parametrize("forge", everywhere.DENIED.values(), ids=everywhere.DENIED)
def test_the_owner_checks_what_the_peer_asks_for(pair: everywhere.Pair, forge: object, size: int) -> None:
    everywhere.test_the_owner_checks_what_the_peer_asks_for(pair, forge, size)  # type: ignore[arg-type]


def test_a_registered_buffer_is_not_copied_by_the_channel() -> None:
    """Large transfers between registered buffers: the network moves all bytes, the processors none."""
    near, far = everywhere.join("rdma")
    remote, local = far.allocate(8 << 20), near.allocate(8 << 20)
    memoryview(local)[:] = bytes(range(256)) * (8 << 20 >> 8)
    near.write(remote.handle, local, timeout=30)
    assert memoryview(remote) == memoryview(local)
    memoryview(local)[:] = bytes(8 << 20)
    near.read(remote.handle, local, timeout=30)
    assert memoryview(remote) == memoryview(local)
    for end in (near, far):
        assert end.stats["bulk_copied"] == 0
    assert near.stats["bulk_direct"] + far.stats["bulk_direct"] >= 16 << 20


def test_other_memory_is_copied_once_into_a_staging_ring() -> None:
    near, far = everywhere.join("rdma")
    remote = far.allocate(8 << 20)
    near.write(remote.handle, bytes(range(256)) * (8 << 20 >> 8), timeout=30)
    assert bytes(memoryview(remote)[-256:]) == bytes(range(256))
    assert near.stats["bulk_copied"] == 8 << 20
    assert far.stats["bulk_copied"] == 0
