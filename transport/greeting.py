"""What two endpoints say before they are connected: four messages of JSON, each behind its length.

    connecting end                                    listening end
      Proposal: sizes, what could carry us  -------->
      <--------  Choice: what shall, and its blob; or a Refusal
      Reply: the blob for it, or why it does not work here  -------->
      <--------  Verdict: what carries us from now on, or none

Blobs are carrier.h's. Every field of the peer's is checked here. Must not know: carriers, endpoints.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import Unreachable
from .options import Options

VERSION = 1
MOST_BYTES = 64 << 10
_HEAD = struct.Struct("<4sI")
_MAGIC = b"RMEP"


@dataclass(frozen=True)
class Proposal:
    """carriers: (name, blob) in the order of preference."""

    version: int = VERSION
    ring_bytes: int = 0
    bulk_window: int = 0
    silence: float = 0.0
    max_message: int = 0
    window: int = 0
    carriers: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """refused: why there will be no connection; empty otherwise."""

    carrier: str = ""
    blob: bytes = b""
    max_message: int = 0
    window: int = 0
    refused: str = ""


@dataclass(frozen=True)
class Reply:
    """failed: why the chosen carrier does not work here."""

    blob: bytes = b""
    failed: str = ""


@dataclass(frozen=True)
class Verdict:
    """carrier: empty if there is none."""

    carrier: str = ""
    why: str = ""


Message = Proposal | Choice | Reply | Verdict
_M = TypeVar("_M", Proposal, Choice, Reply, Verdict)


def checked_sizes(proposal: Proposal) -> Options:
    """The sizes proposed by a peer. Raises ValueError."""
    if proposal.version != VERSION:
        raise ValueError(f"the peer speaks version {proposal.version} of this, we {VERSION}")
    return Options(proposal.ring_bytes, proposal.bulk_window, proposal.silence)


def checked_limits(message: Proposal | Choice) -> tuple[int, int]:
    """(max_message, window) of a peer. Raises ValueError."""
    return message.max_message, Options(max_message=message.max_message, queue=message.window).window


def encode(message: Message) -> bytes:
    """Length and text."""
    text = json.dumps(dataclasses.asdict(message), default=_to_text).encode()
    return _HEAD.pack(_MAGIC, len(text)) + text


def decode(kind: type[_M], text: bytes) -> _M:
    """A message of this kind. Raises ValueError for anything else."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("not a message of ours")
    return kind(**{one.name: _field(one, values) for one in dataclasses.fields(kind)})


def _field(one: dataclasses.Field[Any], values: dict[str, Any]) -> Any:
    """One value, of the type that its default has; the default if it is not there."""
    default: Any = {} if one.name == "carriers" else one.default
    value = values.get(one.name, default)
    if value is default:
        return value
    if isinstance(default, bytes):
        return _to_bytes(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{one.name} is a {type(default).__name__}, not a {type(value).__name__}")
    return {str(name): _to_bytes(blob) for name, blob in value.items()} if one.name == "carriers" else value


def _to_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _to_bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a blob is text in base 64")
    return base64.b64decode(text, validate=True)


class Line:
    """A connected socket on which messages are exchanged until a deadline. Raises Unreachable."""

    def __init__(self, connected: socket.socket, peer: str, seconds: float) -> None:
        self.socket = connected
        self.peer = peer
        self.deadline = time.monotonic() + seconds

    def send(self, message: Message) -> None:
        self._patience()
        try:
            self.socket.sendall(encode(message))
        except OSError as error:
            raise Unreachable(f"{self.peer}: {error}") from error

    def receive(self, kind: type[_M]) -> _M:
        try:
            magic, length = _HEAD.unpack(self._exactly(_HEAD.size))
            if magic != _MAGIC or length > MOST_BYTES:
                raise ValueError("no endpoint of remora.transport is there")
            return decode(kind, self._exactly(length))
        except TimeoutError:
            raise Unreachable(f"{self.peer}: connected, but there is no answer") from None
        except (OSError, ValueError) as error:
            raise Unreachable(f"{self.peer}: {error}") from error

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._patience()
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the peer closed the connection without a word")
            data += part
        return data

    def _patience(self) -> None:
        self.socket.settimeout(max(0.001, self.deadline - time.monotonic()))
