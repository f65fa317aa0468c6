"""Messages between the supervisor and a worker: JSON and file descriptors over a socket pair.

Must not know: what the messages mean.
"""

from __future__ import annotations

import array
import json
import socket
from typing import Any

MESSAGE_MAX = 1 << 17  # bytes
FDS_MAX = 4


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep message boundaries."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Sends one message. Raises OSError when the peer is gone."""
    data = json.dumps(message).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; None when the peer is gone."""
    numbers = array.array("i")
    room = socket.CMSG_LEN(FDS_MAX * numbers.itemsize)
    try:
        data, rights, _, _ = sock.recvmsg(MESSAGE_MAX, room, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    for level, kind, content in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return (json.loads(data), list(numbers)) if data else None
