"""Partition arithmetic, leases and accounts, without processes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as some

from remora.engine.account import Account
from remora.engine.errors import EngineError
from remora.engine.leases import Leases
from remora.engine.partition import MIB, Gpu, Part, Wish, place, share


def gpus(*sizes_mib: int) -> list[Gpu]:
    return [Gpu(index, f"gpu{index}", "0" * 32, size * MIB) for index, size in enumerate(sizes_mib)]


@pytest.mark.parametrize(
    ("wish", "mib"),
    [
        (Wish(), 1000),
        (Wish(fraction=0.25), 250),
        (Wish(mem_mib=7), 7),
        (Wish(fraction=0.333), 333),
        (Wish(fraction=1), 1000),
    ],
)
def test_share(wish: Wish, mib: int) -> None:
    assert share(wish, gpus(1000)[0]) == mib * MIB


@pytest.mark.parametrize(
    "wish",
    [
        Wish(gpus=0),
        Wish(gpus=3),
        Wish(fraction=0.001),
        Wish(fraction=1.1),
        Wish(mem_mib=0),
        Wish(mem_mib=1001),
        Wish(fraction=0.5, mem_mib=5),
    ],
)
def test_wishes_that_cannot_be(wish: Wish) -> None:
    with pytest.raises(EngineError):
        place(wish, gpus(1000, 1000))


def on_a_card() -> Gpu:
    return Gpu(0, "card", "0" * 32, 10_000 * MIB, context=500 * MIB)


@pytest.mark.parametrize(
    ("wish", "mib"),
    [(Wish(), 9500), (Wish(fraction=0.25), 2000), (Wish(mem_mib=7), 7), (Wish(mem_mib=9500), 9500)],
)
def test_a_context_has_its_place_beside_the_program(wish: Wish, mib: int) -> None:
    assert place(wish, [on_a_card()]) == [Part(0, mib * MIB)]


def test_fractions_add_up_to_a_gpu_with_its_contexts() -> None:
    leases = Leases([on_a_card()])
    for _ in range(4):
        leases.make(Wish(fraction=0.25), "test")
    assert leases.gpus[0].free == 0
    with pytest.raises(EngineError, match="CUDA context"):
        leases.make(Wish(mem_mib=1), "test")


@pytest.mark.parametrize("wish", [Wish(fraction=0.05), Wish(mem_mib=9501)])
def test_no_room_for_a_context(wish: Wish) -> None:
    with pytest.raises(EngineError, match="500 of it for a CUDA context"):
        place(wish, [on_a_card()])


def test_small_parts_leave_whole_gpus_whole() -> None:
    all_of = gpus(1000, 1000)
    all_of[1].held[1] = 100 * MIB
    assert [part.gpu for part in place(Wish(fraction=0.5), all_of)] == [1]
    assert [part.gpu for part in place(Wish(), all_of)] == [0]


@given(some.lists(some.integers(1, 1000), max_size=30))
def test_leases_never_pass_the_memory(wishes: list[int]) -> None:
    leases = Leases(gpus(1000, 700))
    for mib in wishes:
        try:
            leases.make(Wish(mem_mib=mib), "test")
        except EngineError:
            assert all(gpu.free < mib * MIB for gpu in leases.gpus)
    assert all(gpu.free >= 0 for gpu in leases.gpus)
    for lease in list(leases.all.values()):
        leases.drop(lease)
        os.close(lease.account.fd)
    assert [gpu.free for gpu in leases.gpus] == [1000 * MIB, 700 * MIB]


def test_tickets() -> None:
    leases = Leases(gpus(1000))
    lease = leases.make(Wish(fraction=0.5), "test")
    found, slot = leases.attach(lease.ticket)
    assert found is lease
    leases.detach(lease, slot)
    for wrong in ("", lease.ticket[:-1], lease.ticket + "x", "\N{SNOWMAN}"):
        with pytest.raises(EngineError):
            leases.attach(wrong)
    leases.drop(lease)
    with pytest.raises(EngineError):
        leases.attach(lease.ticket)


def test_the_default_lease_goes_with_its_last_session() -> None:
    leases = Leases(gpus(1000, 1000))
    first, one = leases.attach("")
    second, two = leases.attach("")
    assert first is second and len(first.parts) == 2
    leases.detach(first, one)
    assert leases.default is first
    leases.detach(first, two)
    assert leases.default is None and all(gpu.free == gpu.memory for gpu in leases.gpus)


def test_account_is_exact_and_shared() -> None:
    account = Account([100, 50])
    other = Account(fd=os.dup(account.fd))
    assert account.charge(0, 0, 60) and not other.charge(1, 0, 41) and other.charge(1, 0, 40)
    assert account.used(0) == 100 and account.used(1) == 0
    other.give_back(1, 0, 1)
    assert account.charge(0, 0, 1) and not account.charge(0, 0, 1)
    account.clear(0)
    assert other.used(0) == 39


def test_account_survives_a_death_under_its_lock() -> None:
    account = Account([1 << 40])
    child = os.fork()
    if child == 0:
        while True:
            account.charge(1, 0, 1)
    for _ in range(2000):
        account.charge(0, 0, 1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    account.clear(1)
    assert account.used(0) == 2000
