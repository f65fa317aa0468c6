"""Choosing what carries a session: the server's half of transport/carrier.h, told by control messages.

Must not know: how any carrier works.
"""

from __future__ import annotations

import socket
from typing import Any

from remora.transport import hello

from . import settings
from .errors import EngineError

AUTO = "auto"


def names() -> list[str]:
    """Carriers that can be asked for, the best first. (Of a module that loads no driver.)"""
    from remora.transport import _channel

    return _channel.carriers()


def offers(greeting: hello.Hello) -> list[tuple[str, str]]:
    """(name, blob in hex) of what a client offers, within bounds: what exceeds them is dropped."""
    first = greeting.carriers[: settings.CARRIERS]
    return [(one.name, one.blob.hex()) for one in first if len(one.blob) <= settings.BLOB_BYTES]


class Choice:
    """One carrier of those that a client offered, prepared on this side.

    setting: auto, or the one carrier that this server allows. Raises EngineError when none is left.
    """

    def __init__(
        self, client: socket.socket, offered: list[tuple[str, bytes]], setting: str, **terms: int
    ) -> None:
        from . import session

        self._make = lambda name: session.Carrying(name, client.fileno(), **terms)
        self._failed = session.CarrierFailed
        self.offered = [name for name, _ in offered] or ["tcp"]
        self.why = ""
        self.carrying: Any = None
        self.blob = b""
        for name, blob in offered or [("tcp", b"")]:
            if self._prepare(name, blob, setting):
                return
        raise EngineError(f"no transport suits both sides: {self.why}")

    @property
    def name(self) -> str:
        return str(self.carrying.name)

    def _prepare(self, name: str, blob: bytes, setting: str) -> bool:
        if setting not in (AUTO, name):
            self._note(f"{name}: this server is set to {setting}")
            return False
        try:
            made = self._make(name)
            self.blob = made.prepare(blob)
        except self._failed as error:
            self._note(f"{name}: {error}")
            return False
        self.carrying = made
        if made.why:
            self._note(made.why)
        return True

    def _note(self, why: str) -> None:
        self.why = f"{self.why}; {why}" if self.why else why

    def conclude(self, client: socket.socket, accept: hello.Accept, setting: str) -> None:
        """Connects the carrier, or falls back to tcp, and tells the client. Raises EngineError."""
        if self.name == "tcp":
            return
        failed = f"on the client's side: {accept.carrier_failed}" if accept.carrier_failed else ""
        if not failed:
            try:
                self.carrying.connect(accept.carrier_blob)
            except self._failed as error:
                failed = str(error)
        if failed:
            self._fall_back(client, failed, setting)
        hello.send(client, hello.Confirm(self.name, self.why))

    def _fall_back(self, client: socket.socket, failed: str, setting: str) -> None:
        why = f"{self.name} failed {failed}"
        if setting != AUTO or "tcp" not in self.offered:
            hello.send(client, hello.Confirm("", why))
            raise EngineError(f"no fallback was allowed: {why}")
        self._note(why)
        self.carrying = self._make("tcp")
