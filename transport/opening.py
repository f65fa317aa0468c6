"""connect() and listen(): from an address to an Endpoint. Cold.

Must not know: what endpoints do, how a carrier works.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from ._endpoint import CarrierFailed, Carrying, Endpoint, carriers, open_endpoint
from .base import Stream, StreamListener, Transport, load
from .errors import DeadlineExceeded, Disconnected, TransportError, Unreachable, Unsupported
from .greeting import Choice, Line, Proposal, Reply, Verdict, checked_limits, checked_sizes
from .hello import split_address
from .options import Options
from .relay import carry, hang_up

log = logging.getLogger("remora.transport")

GREETING_SECONDS = 10.0  # for a stranger that connects and says nothing
GREETINGS = 32  # at a time; further connections wait in the kernel
BACKLOG = 128  # endpoints that wait for accept()

Chosen = str | Transport


def connect(
    address: str, *, timeout: float = 10.0, transport: Chosen = "auto", options: Options | None = None
) -> Endpoint:
    """Connects to whoever listens at address, and returns this end of the connection.

    address: HOST:PORT, or what a transport of your own understands. transport: "auto" (shared memory on one
    machine, else rdma, else tcp), one of these by name, which then is used or nothing, an object of your own
    class, or its name as "MODULE:CLASS". timeout: in seconds. Raises Unreachable, or Unsupported if the
    chosen transport does not work between the two.
    """
    wanted = options or Options()
    own = chosen(transport)
    names = ["tcp"] if own else allowed(transport)
    connected = dial(address, timeout, own)
    try:
        line = Line(connected, address, timeout)
        return propose(line, wanted, names, own)
    except BaseException:
        connected.close()
        raise


def chosen(transport: Chosen) -> Transport | None:
    """The transport of the user's own, if it is one. Raises Unsupported."""
    if isinstance(transport, str):
        return load(transport) if ":" in transport else None
    return transport


def allowed(transport: Chosen) -> list[str]:
    """Names of carriers in the order of preference. Raises Unsupported."""
    names = carriers()
    if transport == "auto":
        return names
    if transport not in names:
        raise Unsupported(f"{transport}: there is no such transport here; there are {', '.join(names)}")
    return [str(transport)]


def dial(address: str, timeout: float, own: Transport | None) -> socket.socket:
    """A connected socket. Raises Unreachable."""
    try:
        if own:
            return carry(own.connect(address, timeout))
        connected = socket.create_connection(split_address(address), timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected
    except (OSError, ValueError) as error:
        raise Unreachable(f"{address}: cannot connect: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# ---- the connecting end


def propose(line: Line, wanted: Options, names: list[str], own: Transport | None) -> Endpoint:
    """The four messages, from this end."""
    attempts, blobs = offers(line, wanted, names)
    line.send(
        Proposal(
            ring_bytes=wanted.ring_bytes,
            bulk_window=wanted.bulk_window,
            silence=wanted.silence,
            max_message=wanted.max_message,
            window=wanted.window,
            carriers=blobs,
        )
    )
    choice = line.receive(Choice)
    if choice.refused:
        raise Unreachable(f"{line.peer}: {choice.refused}")
    if choice.carrier not in attempts:
        raise Unreachable(f"{line.peer}: chose the transport {choice.carrier!r}, which was not offered")
    try:
        line.send(Reply(blob=attempts[choice.carrier].accept(choice.blob)))
    except CarrierFailed as error:
        line.send(Reply(failed=str(error)))
    verdict = line.receive(Verdict)
    if verdict.carrier not in attempts:
        raise Unreachable(f"{line.peer}: {verdict.why or 'no transport works'}")
    log.info("%s: over %s%s", line.peer, verdict.carrier, f" ({verdict.why})" if verdict.why else "")
    return opened(attempts[verdict.carrier], line, wanted, wanted, theirs(line, choice), own)


def theirs(line: Line, message: Proposal | Choice) -> tuple[int, int]:
    try:
        return checked_limits(message)
    except ValueError as error:
        raise Unreachable(f"{line.peer}: {error}") from None


def offers(line: Line, wanted: Options, names: list[str]) -> tuple[dict[str, Carrying], dict[str, bytes]]:
    """Attempts at the carriers that work here, and what they say. Raises Unsupported when none does."""
    attempts, blobs, failures = {}, {}, []
    for name in names:
        attempt = attempt_at(name, line, wanted)
        try:
            blobs[name] = attempt.offer()
            attempts[name] = attempt
        except CarrierFailed as error:
            failures.append(f"{name}: {error}")
    if not attempts:
        raise Unsupported(f"{line.peer}: {'; '.join(failures)}")
    return attempts, blobs


def attempt_at(name: str, line: Line, sizes: Options) -> Carrying:
    return Carrying(
        name,
        line.socket.fileno(),
        ring_bytes=sizes.ring_bytes,
        bulk_window=sizes.bulk_window,
        silence_ms=round(1000 * sizes.silence),
    )


def opened(
    attempt: Carrying,
    line: Line,
    sizes: Options,
    mine: Options,
    their_limits: tuple[int, int],
    own: Transport | None,
) -> Endpoint:
    """The endpoint, which owns the socket from then on."""
    line.socket.settimeout(None)
    line.socket.detach()
    return open_endpoint(
        attempt,
        peer=line.peer,
        transport=own.name if own else attempt.name,
        mine=(mine.max_message, mine.window),
        theirs=their_limits,
        ring_bytes=sizes.ring_bytes,
        bulk_window=sizes.bulk_window,
        silence_ms=round(1000 * sizes.silence),
    )


# ---- the listening end


def listen(address: str, *, transport: Chosen = "auto", options: Options | None = None) -> Listener:
    """Listens at address: HOST:PORT (port 0 picks one), or what a transport of your own understands.

    transport: as in connect(); what is not allowed here is refused to whoever connects. Whoever reaches the
    address can connect: bind it where only friends are. Raises Unreachable or Unsupported.
    """
    own = chosen(transport)
    names = ["tcp"] if own else allowed(transport)
    try:
        source = _Custom(own, own.listen(address)) if own else _Sockets(address)
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"cannot listen at {address}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return Listener(source, names, options or Options(), own)


class _Sockets:
    """Connections over TCP."""

    def __init__(self, address: str) -> None:
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        host, port = self.listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def accept(self) -> tuple[socket.socket, str]:
        accepted, (host, port, *_) = self.listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted, f"{host}:{port}"

    def close(self) -> None:
        hang_up(self.listener)
        self.listener.close()


class _Custom:
    """Connections over a transport of the user's own."""

    def __init__(self, own: Transport, listener: StreamListener) -> None:
        self.own = own
        self.listener = listener
        self.address = listener.address

    def accept(self) -> tuple[socket.socket, str]:
        stream: Stream = self.listener.accept()
        return carry(stream), stream.peer

    def close(self) -> None:
        self.listener.close()


class Listener:
    """Where endpoints come in; made by listen(). Strangers that say nothing hold nobody up."""

    address: str
    """What to pass to connect(), as bound."""

    def __init__(
        self, source: _Sockets | _Custom, names: list[str], options: Options, own: Transport | None
    ) -> None:
        self.address = source.address
        self._source = source
        self._names = names
        self._options = options
        self._own = own
        self._closed = False
        self._greetings = threading.BoundedSemaphore(GREETINGS)
        self._ready: queue.Queue[Endpoint | None] = queue.Queue(BACKLOG)
        threading.Thread(target=self._accept_all, name="remora-accept", daemon=True).start()

    def accept(self, timeout: float | None = None) -> Endpoint:
        """The next endpoint. Raises DeadlineExceeded after timeout seconds, Disconnected once closed."""
        try:
            endpoint = None if self._closed else self._ready.get(timeout=timeout)
        except queue.Empty:
            raise DeadlineExceeded(f"nobody connected to {self.address} within {timeout:g} s") from None
        if endpoint is None:
            self._ready.put(None)  # for whoever else waits
            raise Disconnected(f"the listener at {self.address} was closed")
        return endpoint

    def close(self) -> None:
        """Accepts no more, and ends what nobody has accepted. Accepted endpoints live on."""
        if self._closed:
            return
        self._closed = True
        self._source.close()
        while True:
            try:
                waiting = self._ready.get_nowait()
            except queue.Empty:
                break
            if waiting:
                waiting.close(timeout=0)
        self._ready.put(None)

    def __iter__(self) -> Iterator[Endpoint]:
        """Endpoints as they come, until the listener is closed."""
        while True:
            try:
                yield self.accept()
            except Disconnected:
                return

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Listener at {self.address}{', closed' if self._closed else ''}>"

    # ---- threads

    def _accept_all(self) -> None:
        while not self._closed:
            self._greetings.acquire()
            try:
                accepted, peer = self._source.accept()
            except OSError as error:
                self._greetings.release()
                if self._closed:
                    return
                log.error("%s: %s", self.address, error)
                time.sleep(0.1)  # out of descriptors: others will end
                continue
            threading.Thread(target=self._greet, args=(accepted, peer), daemon=True).start()

    def _greet(self, accepted: socket.socket, peer: str) -> None:
        try:
            line = Line(accepted, peer, GREETING_SECONDS)
            endpoint = answer(line, line.receive(Proposal), self._options, self._names, self._own)
            if self._closed:
                endpoint.close(timeout=0)
            else:
                self._ready.put(endpoint)
        except TransportError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("%s: the greeting failed", peer)
        finally:
            accepted.close()  # the endpoint has taken the descriptor, if there is one
            self._greetings.release()


def answer(
    line: Line, proposal: Proposal, mine: Options, names: list[str], own: Transport | None
) -> Endpoint:
    """The four messages, from the listening end."""
    try:
        sizes, their_limits = checked_sizes(proposal), checked_limits(proposal)
        attempt, blob, why = prepared(line, proposal, sizes, names)
    except (ValueError, Unsupported) as error:
        line.send(Choice(refused=str(error)))
        raise Unreachable(f"{line.peer}: refused: {error}") from None
    line.send(Choice(attempt.name, blob, mine.max_message, mine.window))
    final, why = settled(line, line.receive(Reply), attempt, why, names)
    line.send(Verdict(final.name if final else "", why))
    if final is None:
        raise Unreachable(f"{line.peer}: {why}")
    log.info("%s: over %s%s", line.peer, own.name if own else final.name, f" ({why})" if why else "")
    return opened(final, line, sizes, mine, their_limits, own)


def prepared(line: Line, proposal: Proposal, sizes: Options, names: list[str]) -> tuple[Carrying, bytes, str]:
    """The first carrier that both ends have and that works here, and why none before it."""
    failures: list[str] = []
    for name in names:
        if name not in proposal.carriers:
            continue
        attempt = attempt_at(name, line, sizes)
        try:
            return attempt, attempt.prepare(proposal.carriers[name]), "; ".join(failures)
        except CarrierFailed as error:
            failures.append(f"{name}: {error}")
    offered = ", ".join(proposal.carriers) or "none"
    raise Unsupported(
        "; ".join(failures) or f"offered are {offered}, allowed here {', '.join(names)}: none is common"
    )


def settled(
    line: Line, reply: Reply, attempt: Carrying, why: str, names: list[str]
) -> tuple[Carrying | None, str]:
    """What carries the connection in the end: tcp if the choice fails and tcp is allowed."""
    try:
        if reply.failed:
            raise CarrierFailed(reply.failed)
        attempt.connect(reply.blob)
        return attempt, why
    except CarrierFailed as error:
        why = f"{attempt.name}: {error}"
    if attempt.name == "tcp" or "tcp" not in names:
        return None, why
    return Carrying("tcp", line.socket.fileno()), why
