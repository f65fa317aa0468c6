"""Leases: who holds which parts of which GPUs, and the tickets that prove it.

Must not know: sockets, processes.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field

from . import settings
from .account import SLOTS, Account
from .errors import EngineError
from .partition import Gpu, Part, Wish, place


@dataclass
class Lease:
    """Parts of GPUs, and the account that its sessions charge."""

    number: int
    ticket: str
    program: str
    parts: list[Part]
    account: Account
    since: float = field(default_factory=time.time)
    slots: set[int] = field(default_factory=set)  # in use by sessions

    def take_slot(self) -> int:
        """A place in the account for a new session. Raises EngineError when all are taken."""
        free = set(range(SLOTS)) - self.slots
        if not free:
            raise EngineError(f"the lease has {SLOTS} processes attached already")
        slot = min(free)
        self.account.clear(slot)
        self.slots.add(slot)
        return slot

    def drop_slot(self, slot: int) -> None:
        """The session is gone, and what it held with it."""
        self.account.clear(slot)
        self.slots.discard(slot)


class Leases:
    """All leases of an engine. Each method is atomic."""

    def __init__(self, gpus: list[Gpu]) -> None:
        self.gpus = gpus
        self.lock = threading.RLock()
        self.all: dict[int, Lease] = {}
        self.default: Lease | None = None
        self.made = 0

    def make(self, wish: Wish, program: str) -> Lease:
        """Raises EngineError when there is no room."""
        with self.lock:
            if len(self.all) >= settings.LEASES:
                raise EngineError(f"the server has {settings.LEASES} leases already")
            parts = place(wish, self.gpus)
            self.made += 1
            lease = Lease(
                self.made, secrets.token_urlsafe(24), program, parts, Account([part.memory for part in parts])
            )
            for part in parts:
                self.gpus[part.gpu].held[lease.number] = part.memory + self.gpus[part.gpu].context
            self.all[lease.number] = lease
            return lease

    def drop(self, lease: Lease) -> None:
        """Gives its parts back."""
        with self.lock:
            self.all.pop(lease.number, None)
            for gpu in self.gpus:
                gpu.held.pop(lease.number, None)
            if self.default is lease:
                self.default = None

    def find(self, ticket: str) -> Lease:
        """The lease of a ticket. Raises EngineError; takes the same time for any ticket that isn't one."""
        with self.lock:
            found = [
                lease
                for lease in self.all.values()
                if hmac.compare_digest(lease.ticket.encode(), ticket.encode())
            ]
        if not found:
            raise EngineError(
                "the ticket is unknown or its lease has ended; start the program with `remora run`"
            )
        return found[0]

    def attach(self, ticket: str) -> tuple[Lease, int]:
        """A session's lease and slot. No ticket means the default lease: every GPU that is wholly free."""
        with self.lock:
            lease = self.find(ticket) if ticket else self._default()
            return lease, lease.take_slot()

    def detach(self, lease: Lease, slot: int) -> None:
        """A session of the lease is gone; the default lease goes with its last one."""
        with self.lock:
            lease.drop_slot(slot)
            if lease is self.default and not lease.slots:
                self.drop(lease)

    def _default(self) -> Lease:
        if self.default is None:
            free = sum(1 for gpu in self.gpus if not gpu.held)
            if not free:
                raise EngineError("no GPU is wholly free; ask for a part of one with `remora run -p 0.5`")
            self.default = self.make(Wish(gpus=free), "(no lease)")
        return self.default
