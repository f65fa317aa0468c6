"""A transport of the user's own as the suite needs it: channels over its streams.

Must not know: what is tested.
"""

from __future__ import annotations

import socket
from typing import Any

from remora.transport._channel import Channel
from remora.transport.base import Stream, StreamListener, Transport
from remora.transport.relay import carry

from .backend import SECONDS, Backend, Listening, Raw


def opened(stream: Stream, options: dict[str, Any]) -> Channel:
    return Channel(carry(stream).detach(), **options)


class CustomListening(Listening):
    def __init__(self, listener: StreamListener) -> None:
        self.listener = listener
        self.address = listener.address

    def accept(self, **options: Any) -> Channel:
        return opened(self.listener.accept(), options)

    def close(self) -> None:
        self.listener.close()


class CustomBackend(Backend):
    """The channel's bytes travel over a Transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.name = transport.name

    def listen(self) -> Listening:
        return CustomListening(self.transport.listen(""))

    def connect(self, address: str, **options: Any) -> Channel:
        return opened(self.transport.connect(address, SECONDS), options)

    def raw(self, address: str) -> Raw | None:
        bare: socket.socket = carry(self.transport.connect(address, SECONDS))
        bare.settimeout(SECONDS)
        return bare
