"""Your own transport: three small classes to implement, and Remora runs over it.

A transport carries streams of bytes. Write a :class:`Transport` that makes :class:`Stream` objects, and
everything of Remora works over it: :func:`remora.transport.connect`, ``remora run --transport MODULE:CLASS``,
the conformance suite. What the bytes mean is the channel's business (docs/wire.md): it frames them, keeps
credits, cuts what is large, watches for silence. docs/transports.md has a walk-through.

Must not know: channels, records, CUDA.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType

from .errors import Unsupported


class Stream(ABC):
    """One connection: a reliable, ordered stream of bytes in each direction.

    One thread sends while another receives, no more than one in each direction; ``close`` comes from any
    thread. All may raise OSError with a message for people; the connection is then over.
    """

    peer: str = "peer"
    """Who is at the other end, for messages to people."""

    @abstractmethod
    def send(self, data: memoryview) -> int:
        """Sends bytes from the beginning of data and returns how many, 1 to len(data).

        data is one-dimensional, contiguous, of format "B", never empty, at most 256 KiB; it may change once
        this returns. Waits while the peer takes nothing: never buffer without a limit. Bytes may stay in
        buffers below only if they travel without a further call.
        """

    @abstractmethod
    def receive_into(self, room: memoryview) -> int:
        """Waits for bytes, puts them at the beginning of room and returns how many, 1 to len(room).

        room is one-dimensional, contiguous, writable, of format "B", at most 256 KiB. Returns as soon as
        there are any: a reply is never kept back to fill the room. 0 means that the peer called
        :meth:`finish` and that everything it sent has been received. If the peer died instead: 0, or
        OSError; within seconds.
        """

    @abstractmethod
    def finish(self) -> None:
        """Nothing more will be sent. What was sent still arrives, and receiving goes on. Called once."""

    @abstractmethod
    def close(self) -> None:
        """Ends both directions at once. The peer notices, and so does a thread of ours inside
        :meth:`send` or :meth:`receive_into`: it returns 0 or raises OSError. May be called more than once."""


class StreamListener(ABC):
    """Where streams come in."""

    address: str
    """What a peer passes to :meth:`Transport.connect` to get here, as text without spaces."""

    @abstractmethod
    def accept(self) -> Stream:
        """Waits for the next stream. Raises OSError once :meth:`close` was called, also by another thread."""

    @abstractmethod
    def close(self) -> None:
        """Accepts no more, and frees the address. Streams live on. May be called more than once."""


class Transport(ABC):
    """A way to make streams. Constructed without arguments; used by many threads."""

    @abstractmethod
    def connect(self, address: str, timeout: float) -> Stream:
        """A stream to whoever listens at address. Raises OSError, also when timeout (seconds) is over."""

    @abstractmethod
    def listen(self, address: str) -> StreamListener:
        """Listens at address; the empty one means: pick one that reaches us on this machine."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        return type(self).__name__


def load(reference: str) -> Transport:
    """The transport of ``package.module:Class`` or ``path/to/file.py:Class``. Raises Unsupported.

    Modules are also looked for in the current folder.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name:
        raise Unsupported(f"{reference}: name a transport as MODULE:CLASS or FILE.py:CLASS")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else _from_path(where)
        kind = getattr(module, name)
    except (ImportError, OSError, AttributeError, SyntaxError) as error:
        raise Unsupported(f"{reference}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Transport)):
        raise Unsupported(f"{reference}: not a subclass of remora.transport.Transport")
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise Unsupported(f"{reference}: it does not define {', '.join(missing)}")
    return kind()


def _from_path(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    name = f"remora_transport_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
