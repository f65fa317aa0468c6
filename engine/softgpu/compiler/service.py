"""The compile service: requests over a unix socket in the cache folder (../kernel_abi.h, part 3).

One for each user and folder (a lock file decides), any number of clients, a thread for each connection;
it exits when nobody has asked for a while. It needs no privileges and keeps none.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import resource
import socket
import socketserver
import struct
import time
from pathlib import Path

from remora.engine.confine import confine, limit
from remora.engine.softgpu.compiler import abi
from remora.engine.softgpu.compiler.cache import Cache
from remora.engine.softgpu.compiler.errors import INVALID_PTX, UNKNOWN, CompileError
from remora.engine.softgpu.compiler.translate import NeedImageError, Translator

LOG = logging.getLogger("remora.softgpu.compiler")
CONNECT_S = 10.0  # how long to wait for another service that has just started
MAX_MEMORY = 16 << 30
Reply = tuple[int, bytes]


class ProtocolError(Exception):
    """A request that isn't one: the connection is closed."""


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes; b"" when the peer has gone before the first."""
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = connection.recv_into(view[got:])
        if count == 0:
            if got == 0:
                return b""
            raise ProtocolError("cut off")
        got += count
    return bytes(data)


def peer_user(connection: socket.socket) -> int:
    """The user at the other end."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", packed)[1])


class Connection(socketserver.BaseRequestHandler):
    """Serves one client until it hangs up."""

    server: Service

    def handle(self) -> None:
        if peer_user(self.request) != os.geteuid():
            return
        with contextlib.suppress(ProtocolError, OSError):
            while (head := receive(self.request, abi.HEAD.size)) != b"":
                magic, code, size = abi.HEAD.unpack(head)
                if magic != abi.SERVICE_MAGIC or size > abi.SERVICE_MAX_IMAGE + 4096:
                    return
                with self.server.busy():
                    status, body = self.answer(code, receive(self.request, size))
                    self.request.sendall(abi.HEAD.pack(abi.SERVICE_MAGIC, status, len(body)) + body)

    def answer(self, code: int, body: bytes) -> Reply:
        """The reply to one request."""
        try:
            return abi.SERVICE_OK, ANSWERS[code](self.server.translator, body)
        except NeedImageError:
            return abi.SERVICE_NEED_IMAGE, b""
        except CompileError as error:
            return error.code, str(error).encode()
        except RecursionError:
            return INVALID_PTX, b"ptx: nested too deeply"
        except (KeyError, struct.error) as error:
            raise ProtocolError("not a request") from error
        except Exception as error:  # our own fault: say so, keep serving
            LOG.exception("request %d failed", code)
            return UNKNOWN, f"the compile service failed: {type(error).__name__}: {error}".encode()


def _hello(translator: Translator, body: bytes) -> bytes:
    theirs = struct.unpack("<II", body)[0]
    if theirs != abi.KERNEL_ABI:
        raise CompileError(
            f"the driver speaks version {theirs} of kernel_abi.h, this service {abi.KERNEL_ABI}"
        )
    return translator.cache.environment.encode()


def _describe(translator: Translator, body: bytes) -> bytes:
    size, _ = abi.ASK_DESCRIBE_BODY.unpack_from(body)
    start = abi.ASK_DESCRIBE_BODY.size + size
    return translator.describe(body[abi.ASK_DESCRIBE_BODY.size : start], body[start:])


def _compile(translator: Translator, body: bytes) -> bytes:
    key, unit, _ = abi.ASK_COMPILE_BODY.unpack(body)
    return os.fsencode(translator.compile(key.hex(), unit))


ANSWERS = {abi.ASK_HELLO: _hello, abi.ASK_DESCRIBE: _describe, abi.ASK_COMPILE: _compile}


class Service(socketserver.ThreadingUnixStreamServer):
    """The listening socket, and the clock that ends the service."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, cache: Cache, idle_s: float) -> None:
        self.translator = Translator(cache)
        self.idle_s = idle_s
        self.active = 0
        self.last = time.monotonic()
        with contextlib.suppress(FileNotFoundError):
            os.unlink("service.sock", dir_fd=cache.fd)
        super().__init__(f"/proc/self/fd/{cache.fd}/service.sock", Connection)

    @contextlib.contextmanager
    def busy(self):  # type: ignore[no-untyped-def]
        """Marks a request under way."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self.last = time.monotonic()

    def service_actions(self) -> None:
        """Called between polls: has everyone gone?"""
        if not self.active and time.monotonic() - self.last > self.idle_s:
            raise SystemExit(0)


def drop_privileges() -> None:
    """Bounded memory and files, no other programs, no network."""
    limit(resource.RLIMIT_AS, MAX_MEMORY)
    limit(resource.RLIMIT_FSIZE, abi.SERVICE_MAX_IMAGE)
    confine(programs=False, network=False)


def detach(ready_fd: int, log: Path) -> None:
    """Leave the starter's session and its descriptors; errors go to a small log in the cache folder."""
    with contextlib.suppress(PermissionError):  # already a session leader
        os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    for target, source in ((0, null), (1, null), (2, errors)):
        os.dup2(source, target)
    limit = 1 << 16
    for first, last in ((3, ready_fd), (max(ready_fd + 1, 3), limit)):
        os.closerange(first, max(first, last))


def _answers(cache: Cache) -> bool:
    """Whether another service on this folder accepts connections, soon."""
    end = time.monotonic() + CONNECT_S
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(f"/proc/self/fd/{cache.fd}/service.sock")
                return True
            except OSError:
                time.sleep(0.02)
    return False


def serve(folder: Path, idle_s: float, say: Say) -> None:
    """Serve until idle. `say` gets "ready" once, or raises what is in the way."""
    cache = Cache(folder)
    lock = os.open("service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=cache.fd)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not _answers(cache):
            raise TimeoutError(f"another compile service holds {folder} and doesn't answer") from None
        say("ready")
        return
    drop_privileges()
    with Service(cache, idle_s) as service:
        say("ready")
        try:
            service.serve_forever(poll_interval=0.5)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink("service.sock", dir_fd=cache.fd)


class Say:
    """The one line that the starter waits for."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __call__(self, text: str) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self.fd, text.replace("\n", " ").encode() + b"\n")
                os.close(self.fd)
        self.fd = -1
