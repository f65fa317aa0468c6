"""Partitions: how much of which GPU a lease gets. Pure arithmetic, no I/O.

Must not know: sockets, workers, the driver.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import EngineError

MIB = 1 << 20


@dataclass
class Gpu:
    """One GPU of the engine, and what its leases hold of it."""

    index: int
    name: str
    uuid: str
    memory: int  # bytes
    context: int = 0  # bytes that a program's CUDA context takes beside what the program allocates
    held: dict[int, int] = field(default_factory=dict)  # lease -> bytes, its context's among them

    @property
    def free(self) -> int:
        """Bytes that no lease holds."""
        return self.memory - sum(self.held.values())


@dataclass(frozen=True)
class Part:
    """A share of one GPU."""

    gpu: int
    memory: int  # bytes, the quota that the program sees as its device's size


@dataclass(frozen=True)
class Wish:
    """What a lease asks for: gpus devices, each a fraction of a GPU or so many MiB; neither: all of it."""

    gpus: int = 1
    fraction: float | None = None
    mem_mib: int | None = None


def check(wish: Wish, most: int) -> None:
    """Raises EngineError unless the wish makes sense on an engine with `most` GPUs."""
    if not 1 <= wish.gpus <= most:
        raise EngineError(f"{wish.gpus} GPUs asked for, the server has {most}")
    if wish.fraction is not None and wish.mem_mib is not None:
        raise EngineError("ask for a fraction or for MiB, not both")
    if wish.fraction is not None and not 0.01 <= wish.fraction <= 1:
        raise EngineError(f"a fraction lies between 0.01 and 1, not {wish.fraction:g}")
    if wish.mem_mib is not None and wish.mem_mib < 1:
        raise EngineError(f"memory is at least 1 MiB, not {wish.mem_mib}")


def share(wish: Wish, gpu: Gpu) -> int:
    """Bytes of this GPU that the program will see.

    A context comes out of a fraction, so that fractions add up to a GPU; MiB asked for are the program's own.
    """
    if wish.mem_mib is not None:
        return wish.mem_mib * MIB
    if wish.fraction is not None:
        return round(gpu.memory * wish.fraction) // MIB * MIB - gpu.context
    return gpu.memory - gpu.context


def cost(wish: Wish, gpu: Gpu) -> int:
    """Bytes of this GPU that the wish takes up."""
    return share(wish, gpu) + gpu.context


def place(wish: Wish, gpus: list[Gpu]) -> list[Part]:
    """Chooses a GPU for each part, those with the least room left over first, so that whole ones stay whole.

    Raises EngineError when there are not so many with room.
    """
    check(wish, len(gpus))
    fitting = sorted(
        (gpu.free - cost(wish, gpu), gpu.index, gpu)
        for gpu in gpus
        if share(wish, gpu) >= MIB and cost(wish, gpu) <= gpu.free
    )
    if len(fitting) < wish.gpus:
        raise EngineError(shortage(wish, gpus, len(fitting)))
    chosen = sorted(gpu.index for _, _, gpu in fitting[: wish.gpus])
    return [Part(index, share(wish, gpus[index])) for index in chosen]


def shortage(wish: Wish, gpus: list[Gpu], fitting: int) -> str:
    """One line for people: what is free, and what to ask for instead."""
    need = max(cost(wish, gpu) for gpu in gpus) // MIB
    context = max(gpu.context for gpu in gpus) // MIB
    free = ", ".join(f"GPU {gpu.index}: {gpu.free // MIB} of {gpu.memory // MIB} MiB free" for gpu in gpus)
    beside = f", {context} of it for a CUDA context" if context else ""
    return (
        f"{wish.gpus} x {need} MiB asked for{beside}, {fitting} GPUs have that free ({free}); "
        "ask for another size: -p or -m"
    )
