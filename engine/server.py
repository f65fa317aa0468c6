"""The supervisor: listens, leases GPUs, admits sessions, and hands each to a worker process.

A thread serves each connection, so that a silent or garbled client holds up nobody; handshakes are bounded in
number, time and size. Must not know: the driver (workers tell what it says), call records.
"""

from __future__ import annotations

import dataclasses
import hmac
import ipaddress
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remora.transport import hello

from . import driver, settings
from .carriers import AUTO, names, offers
from .errors import EngineError
from .leases import Lease, Leases
from .partition import Gpu, Wish
from .workers import Worker, Workers

log = logging.getLogger("remora.engine")
COMPUTE_MODE = 20  # CU_DEVICE_ATTRIBUTE_COMPUTE_MODE; 0 is the default, shared one


@dataclass
class Session:
    """One attached process."""

    number: int
    lease: Lease
    slot: int
    pid: int
    program: str
    peer: str
    worker: Worker | None = None


class Refused(EngineError):
    """A client is turned away, with a REASON_ of hello.py."""

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Server:
    """An engine. start() returns once it accepts; stop() ends it and every session within seconds.

    listen: HOST:PORT, port 0 picks one. driver: auto, nvidia or softgpu. token: what clients must show;
    needed to listen beyond this machine. transport: auto, or the one carrier to use.
    Raises EngineError, one line for people.
    """

    def __init__(
        self,
        listen: str = f"127.0.0.1:{settings.DEFAULT_PORT}",
        driver: str = "auto",
        token: str | None = None,
        name: str | None = None,
        transport: str = AUTO,
    ) -> None:
        self.listen = listen
        self.transport = transport
        self.token = token or None
        self.name = name or socket.gethostname()
        self.wanted = driver
        self.library: Any = None
        self.sessions: dict[int, Session] = {}
        self.connections: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.handshakes = threading.BoundedSemaphore(settings.HANDSHAKES)
        self.made = 0
        self.stopping = False
        self.listener: socket.socket | None = None

    @property
    def address(self) -> str:
        """HOST:PORT as bound."""
        if self.listener is None:
            raise EngineError("the server has not started")
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def driver(self) -> str:
        """nvidia or softgpu."""
        return str(self.library.kind) if self.library else self.wanted

    # ---- life

    def start(self) -> None:
        """Binds, warms the first worker up, accepts."""
        self.listener = bind(self.listen, self.token)
        try:
            check_transport(self.transport)
            self.library = driver.find(self.wanted)
            self.workers = Workers(self.library)
            self.workers.start()
        except EngineError:
            self.listener.close()
            raise
        self.images = Path(tempfile.mkdtemp(prefix="remora-images-"))
        self.gpus = [
            Gpu(i, d["name"], d["uuid"], d["memory"], self._context_bytes())
            for i, d in enumerate(self.workers.facts["devices"])
        ]
        self._warn_of_exclusive_gpus()
        self.leases = Leases(self.gpus)
        threading.Thread(target=self._accept, args=(self.listener,), name="accept", daemon=True).start()
        log.info(
            "listening on %s, driver %s (%s), %d GPU(s): %s",
            self.address,
            self.driver,
            self.library.path,
            len(self.gpus),
            ", ".join(f"{gpu.name} {gpu.memory >> 20} MiB" for gpu in self.gpus),
        )

    def _context_bytes(self) -> int:
        """Device memory of a context: a software GPU's costs none."""
        return settings.CONTEXT_MIB << 20 if self.driver == "nvidia" else 0

    def _warn_of_exclusive_gpus(self) -> None:
        for gpu, facts in zip(self.gpus, self.workers.facts["devices"], strict=True):
            mode = facts["attributes"][COMPUTE_MODE] if len(facts["attributes"]) > COMPUTE_MODE else 0
            if mode:
                log.warning(
                    "GPU %d is in an exclusive or prohibited compute mode: at most one program can use it; "
                    "nvidia-smi -i %d -c DEFAULT ends that",
                    gpu.index,
                    gpu.index,
                )

    def stop(self) -> None:
        """Ends every session and worker. Does nothing the second time."""
        if self.stopping or self.listener is None:
            return
        self.stopping = True
        hang_up(self.listener)
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            hang_up(connection)
        self.workers.stop()
        shutil.rmtree(self.images, ignore_errors=True)
        log.info("stopped")

    def run(self) -> None:
        """start(), serve until SIGTERM or SIGINT, stop()."""
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        self.start()
        try:
            while not ended.wait(3600):
                pass
        finally:
            self.stop()

    # ---- connections

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping:
            try:
                connection, address = listener.accept()
            except OSError as error:
                if not self.stopping:
                    log.error("accept: %s", error)
                    time.sleep(0.1)  # out of descriptors: others will end
                continue
            if not self.handshakes.acquire(blocking=False):
                log.warning(
                    "%s: turned away, %d handshakes are under way", peer_name(address), settings.HANDSHAKES
                )
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, peer_name(address)), daemon=True).start()

    def _serve(self, connection: socket.socket, peer: str) -> None:
        with self.lock:
            self.connections.add(connection)
        try:
            self._greet(connection, peer)
        except ValueError as error:
            log.warning("%s: %s", peer, error)
            part(connection, hello.Refusal(hello.REASON_REQUEST, str(error)))
        except OSError as error:
            if not self.stopping:
                log.warning("%s: %s", peer, error)
        except Exception:
            log.exception("%s: the connection's thread failed", peer)
        finally:
            with self.lock:
                self.connections.discard(connection)
            connection.close()

    def _greet(self, connection: socket.socket, peer: str) -> None:
        """The first message says whether it is a program or a launcher."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(connection)
        try:
            first = Patient(connection, settings.HANDSHAKE_SECONDS).receive()
        finally:
            self.handshakes.release()
        if isinstance(first, hello.Hello):
            self._attach(connection, peer, first)
        elif isinstance(first, hello.Ask):
            self._control(connection, peer, first)
        else:
            raise ValueError(f"a connection starts with Hello or Ask, not {type(first).__name__}")

    # ---- programs

    def _attach(self, connection: socket.socket, peer: str, greeting: hello.Hello) -> None:
        try:
            session = self._admit(peer, greeting)
        except EngineError as error:
            reason = error.reason if isinstance(error, Refused) else hello.REASON_RESOURCES
            log.warning("%s: %s (pid %d) refused: %s", peer, greeting.program, greeting.pid, error)
            hello.send(
                connection, hello.Refusal(reason, str(error), table_hash=self.workers.facts["table_hash"])
            )
            return
        try:
            why = self._run(session, connection, greeting)
        except EngineError as error:
            why = str(error)
            hello.send(connection, hello.Refusal(hello.REASON_RESOURCES, why))
        finally:
            self._forget(session)
        log.info(
            "session %d: %s (pid %d, %s) ended: %s", session.number, session.program, session.pid, peer, why
        )

    def _admit(self, peer: str, greeting: hello.Hello) -> Session:
        """Checks version and ticket. Raises EngineError."""
        ours = self.workers.facts["table_hash"]
        if (greeting.major, greeting.minor) != (hello.PROTOCOL_MAJOR, hello.PROTOCOL_MINOR):
            raise Refused(
                hello.REASON_VERSION,
                f"the client speaks protocol {greeting.major}.{greeting.minor}, the server "
                f"{hello.PROTOCOL_MAJOR}.{hello.PROTOCOL_MINOR}; install the same version on both sides",
            )
        if greeting.table_hash != ours:
            raise Refused(
                hello.REASON_VERSION,
                f"the client's call table is {greeting.table_hash:016x}, the server's "
                f"{ours:016x}; install the same version on both sides",
            )
        if self.token and not greeting.ticket:
            raise Refused(
                hello.REASON_TOKEN,
                "this server needs a ticket; start the program with `remora run --token ...`",
            )
        with self.lock:
            if len(self.sessions) >= settings.SESSIONS:
                raise Refused(
                    hello.REASON_BUSY,
                    f"the server serves {settings.SESSIONS} programs already; try again later",
                )
            try:
                lease, slot = self.leases.attach(greeting.ticket)
            except EngineError as error:
                raise Refused(
                    hello.REASON_TOKEN if greeting.ticket else hello.REASON_BUSY, str(error)
                ) from None
            self.made += 1
            session = Session(self.made, lease, slot, greeting.pid, greeting.program[:64], peer)
            self.sessions[session.number] = session
            return session

    def _run(self, session: Session, connection: socket.socket, greeting: hello.Hello) -> str:
        """Hands the socket to a worker and waits for the session's end; why it ended."""
        connection.settimeout(None)
        job = {
            "session": session.number,
            "parts": [{"gpu": part.gpu, "memory": part.memory} for part in session.lease.parts],
            "slot": session.slot,
            "hello": dataclasses.asdict(dataclasses.replace(greeting, ticket="", carriers=[])),
            "carriers": offers(greeting),
            "transport": self.transport,
            "ring_bytes": ring_bytes(greeting.ring_bytes),
            "server": self.name,
            "images": str(self.images),
            "peer": session.peer,
        }

        def started(worker: Worker) -> None:
            with self.lock:
                session.worker = worker
                self.connections.discard(connection)
            connection.close()
            log.info(
                "session %d: %s (pid %d, %s) on lease %d",
                session.number,
                session.program,
                session.pid,
                session.peer,
                session.lease.number,
            )

        def told(message: dict[str, Any]) -> None:
            log.info(
                "session %d: transport %s%s",
                session.number,
                message["carrier"],
                f" ({message['why']})" if message["why"] else "",
            )

        return self.workers.run(job, [connection.fileno(), session.lease.account.fd], started, told)

    def _forget(self, session: Session) -> None:
        with self.lock:
            self.sessions.pop(session.number, None)
        self.leases.detach(session.lease, session.slot)

    # ---- launchers and tools

    def _control(self, connection: socket.socket, peer: str, ask: hello.Ask) -> None:
        if not self._trusted(ask):
            log.warning("%s: wrong or missing token", peer)
            hello.send(
                connection,
                refusal(hello.REASON_TOKEN, "the token is wrong or missing; give the server's with --token"),
            )
        elif ask.request == hello.REQUEST_LEASE:
            self._lease(connection, peer, ask)
        elif ask.request in (hello.REQUEST_LIST, hello.REQUEST_STATS):
            hello.send(connection, self._answer(gpus=self._free_gpus(), sessions=self._stats()))
        else:
            hello.send(connection, refusal(hello.REASON_REQUEST, f"unknown request {ask.request}"))

    def _trusted(self, ask: hello.Ask) -> bool:
        return self.token is None or hmac.compare_digest(self.token.encode(), ask.token.encode())

    def _answer(self, **fields: Any) -> hello.Answer:
        return hello.Answer(ok=True, server=self.name, driver=self.driver, **fields)

    def _lease(self, connection: socket.socket, peer: str, ask: hello.Ask) -> None:
        """The lease lives as long as this connection."""
        wish = Wish(ask.gpus or 1, ask.fraction_ppm / 1e6 if ask.fraction_ppm else None, ask.mem_mib or None)
        try:
            lease = self.leases.make(wish, ask.program[:64])
        except EngineError as error:
            log.warning("%s: no lease: %s", peer, error)
            hello.send(connection, refusal(hello.REASON_RESOURCES, str(error)))
            return
        try:
            log.info(
                "lease %d: %s",
                lease.number,
                ", ".join(f"{p.memory >> 20} MiB of GPU {p.gpu}" for p in lease.parts),
            )
            hello.send(connection, self._answer(ticket=lease.ticket, gpus=self._lease_gpus(lease)))
            connection.settimeout(None)
            connection.recv(1)  # a release or the launcher's end: both end the lease
        finally:
            self._end_lease(lease)

    def _end_lease(self, lease: Lease) -> None:
        with self.lock:
            orphans = [session for session in self.sessions.values() if session.lease is lease]
        for session in orphans:
            if session.worker is not None:
                session.worker.release()
        self.leases.drop(lease)
        log.info("lease %d ended", lease.number)

    def _lease_gpus(self, lease: Lease) -> list[hello.Gpu]:
        return [
            hello.Gpu(i, self.gpus[p.gpu].name, uuid_text(self.gpus[p.gpu].uuid), p.memory, p.memory, 1)
            for i, p in enumerate(lease.parts)
        ]

    def _free_gpus(self) -> list[hello.Gpu]:
        return [
            hello.Gpu(g.index, g.name, uuid_text(g.uuid), g.memory, g.free, len(g.held)) for g in self.gpus
        ]

    def _stats(self) -> list[hello.SessionStats]:
        with self.lock:
            return [
                hello.SessionStats(s.number, s.pid, s.program, **s.lease.account.slot(s.slot))
                for s in self.sessions.values()
            ]


class Patient:
    """Reads one message within a deadline, however slowly it drips."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + seconds
        self.seconds = seconds

    def recv(self, size: int) -> bytes:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"said nothing complete for {self.seconds:g} s")
        self.connection.settimeout(left)
        try:
            return self.connection.recv(size)
        except TimeoutError:
            raise TimeoutError(f"said nothing complete for {self.seconds:g} s") from None

    def receive(self) -> hello.Message:
        """The message. TimeoutError, OSError or ValueError."""
        message = hello.receive(self)  # type: ignore[arg-type]
        self.connection.settimeout(self.seconds)
        return message


def refusal(reason: int, message: str) -> hello.Answer:
    """An answer that says no."""
    return hello.Answer(ok=False, message=message, reason=reason)


def bind(listen: str, token: str | None) -> socket.socket:
    """A listening socket. Raises EngineError: bad address, port in use, a wide address without a token."""
    try:
        host, port = hello.split_address(
            listen if listen.rpartition(":")[2].isdigit() else f"{listen}:{settings.DEFAULT_PORT}"
        )
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (ValueError, OSError) as error:
        raise EngineError(f"cannot listen on {listen}: {error}") from None
    if token is None and not ipaddress.ip_address(address[0]).is_loopback:
        raise EngineError(
            f"{listen} is reachable from other machines: set a token (--token-file), or listen on 127.0.0.1"
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise EngineError(
            f"cannot listen on {listen}: {error.strerror or error}; is another engine running there?"
        ) from None
    return listener


def check_transport(transport: str) -> None:
    """Raises EngineError for one that is not built in."""
    if transport != AUTO and transport not in names():
        raise EngineError(f"there is no transport {transport}: choose auto, {', '.join(names())}")


def keep_alive(connection: socket.socket) -> None:
    """A peer whose machine vanished is noticed within half a minute."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def part(connection: socket.socket, message: hello.Refusal) -> None:
    """Says why and ends the connection, reading on a moment: closing on unread bytes loses the message."""
    try:
        connection.settimeout(settings.PARTING_SECONDS)
        hello.send(connection, message)
        connection.shutdown(socket.SHUT_WR)
        for _ in range(64):
            if not connection.recv(65536):
                return
    except OSError:
        pass


def hang_up(connection: socket.socket) -> None:
    """Wakes whoever waits on it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def ring_bytes(wished: int) -> int:
    """A power of two within our bounds."""
    bounded = min(max(wished or settings.RING_BYTES, settings.RING_LEAST), settings.RING_BYTES)
    return 1 << (bounded.bit_length() - 1)


def peer_name(address: Any) -> str:
    """host:port of a connected peer."""
    return f"{address[0]}:{address[1]}"


def uuid_text(digits: str) -> str:
    """As nvidia-smi writes it."""
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def main() -> None:
    """For tests and development: python -m remora.engine.server [LISTEN [DRIVER]]."""
    import sys

    logging.basicConfig(
        level=os.environ.get("REMORA_LOG", "INFO").upper(), format="%(asctime)s %(levelname).1s %(message)s"
    )
    try:
        Server(*sys.argv[1:]).run()
    except EngineError as error:
        sys.exit(f"remora: {error}")


if __name__ == "__main__":
    main()
