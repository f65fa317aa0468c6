"""What one end tells the other of a registered buffer, and what is needed to use it there."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_FORM = struct.Struct("<4sQQB")
_MAGIC = b"RMBF"


@dataclass(frozen=True)
class RemoteBuffer:
    """A buffer that the peer registered; send it in a message, as bytes.

    key is a number hard to guess: whoever has it, and a connection to its owner, may use the buffer. readable
    and writable say for what.
    """

    key: int
    nbytes: int
    readable: bool = True
    writable: bool = True

    def __bytes__(self) -> bytes:
        return _FORM.pack(_MAGIC, self.key, self.nbytes, self.readable | self.writable << 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> RemoteBuffer:
        """What ``bytes(remote)`` was made of. Raises ValueError."""
        if len(data) != _FORM.size or not data.startswith(_MAGIC):
            raise ValueError(f"these {len(data)} bytes are not a buffer's handle")
        _, key, nbytes, allowed = _FORM.unpack(data)
        return cls(key, nbytes, bool(allowed & 1), bool(allowed & 2))
