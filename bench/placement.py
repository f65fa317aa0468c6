"""Where the two ends of a connection run. A round trip costs what its CPU placement makes it cost."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """CPUs of the client's side and of the server's side."""

    name: str
    client: frozenset[int]
    server: frozenset[int]
    condition: str


def placements() -> dict[str, Placement]:
    """The placements that this machine has: both ends on one CPU, and (with two CPUs) one CPU each."""
    cpus = sorted(os.sched_getaffinity(0))
    last = frozenset(cpus[-1:])
    found = {"one": Placement("one", last, last, "client and server on one CPU")}
    if len(cpus) > 1:
        found["split"] = Placement("split", frozenset(cpus[:1]), last, "client and server on a CPU each")
    return found
