"""Moving bytes between two processes: endpoints, messages, registered buffers, and your own transport.

    import remora.transport as rt

    with rt.connect("gpubox:7500", timeout=5) as endpoint:
        endpoint.send(b"hello")
        print(endpoint.receive(timeout=5))

docs/transports.md tells the rest. Beneath it is the channel of Remora (channel.h): records, bulk and urgent
messages, the same code that carries CUDA calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Stream, StreamListener, Transport
from .errors import (
    AccessDenied,
    BufferInUse,
    DeadlineExceeded,
    Disconnected,
    MessageTooLarge,
    ProtocolError,
    TransportError,
    Unreachable,
    Unsupported,
)
from .options import Options
from .remote import RemoteBuffer

if TYPE_CHECKING:
    from ._endpoint import Buffer, Endpoint, Transfer
    from .opening import Listener, connect, listen

__all__ = [
    "AccessDenied",
    "Buffer",
    "BufferInUse",
    "DeadlineExceeded",
    "Disconnected",
    "Endpoint",
    "Listener",
    "MessageTooLarge",
    "Options",
    "ProtocolError",
    "RemoteBuffer",
    "Stream",
    "StreamListener",
    "Transfer",
    "Transport",
    "TransportError",
    "Unreachable",
    "Unsupported",
    "connect",
    "listen",
]

# Loaded when first used: much of Remora needs control messages from here, and none of this.
_LATER = {"Buffer": "_endpoint", "Endpoint": "_endpoint", "Transfer": "_endpoint"}
_LATER |= {"Listener": "opening", "connect": "opening", "listen": "opening"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'remora.transport' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)
