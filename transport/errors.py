"""What can go wrong in remora.transport, in the words of whoever uses it.

Every class also is the built-in exception that people would catch for it (TimeoutError, ConnectionError ...).
"""

from __future__ import annotations


class TransportError(Exception):
    """Anything that remora.transport raises on purpose; the message is one line that says what to do."""


class DeadlineExceeded(TransportError, TimeoutError):
    """The timeout passed. The endpoint works on; what the method had begun is told in its description."""

    sent: int = 0
    """Of :meth:`Endpoint.send_many`: how many messages are on their way."""


class Unreachable(TransportError, ConnectionError):
    """No connection could be made: nobody listens, the address is wrong, or no Remora is there."""


class Disconnected(TransportError, ConnectionError):
    """The connection has ended: the peer closed it, died, went silent, or it was closed here."""


class ProtocolError(Disconnected):
    """The connection was ended because the peer sent what it must not send."""


class AccessDenied(TransportError, PermissionError):
    """The peer has no such buffer any more, it is smaller, or it does not allow this direction."""


class MessageTooLarge(TransportError, ValueError):
    """The peer takes no message of this size; register a buffer and write it instead."""


class BufferInUse(TransportError, BufferError):
    """The buffer is part of a transfer that is under way, or its memory is still used elsewhere."""


class Unsupported(TransportError, ValueError):
    """There is no such transport, or not on this machine."""
