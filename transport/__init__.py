"""Moving bytes between two processes: endpoints, messages, registered buffers, and your own transport.

    import remora.transport as rt

    with rt.connect("tcp://gpubox:7500", timeout=5) as endpoint:
        endpoint.send(b"hello")
        print(endpoint.receive(timeout=5))

docs/transports.md tells the rest. Beneath it is the channel of Remora (channel.h): records, bulk and urgent
messages, the same code that carries CUDA calls.
"""

from __future__ import annotations

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

__all__ = [
    "AccessDenied",
    "BufferInUse",
    "DeadlineExceeded",
    "Disconnected",
    "MessageTooLarge",
    "ProtocolError",
    "Stream",
    "StreamListener",
    "Transport",
    "TransportError",
    "Unreachable",
    "Unsupported",
]
