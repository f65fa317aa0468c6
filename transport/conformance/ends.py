"""Pairs of channel ends for the suite: within this process, or with a forked process at the other end.

Must not know: which transport it is.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from typing import Any, Protocol

from remora.transport._channel import Channel

from .backend import Backend, Raw

CLIENT = {"service": True, "deliver": True, "peer": "engine"}
ENGINE = {"peer": "client"}


class Pair(Protocol):
    """A client's channel (service threads, replies delivered) and an engine's one with its reader running."""

    def __call__(self, **options: Any) -> tuple[Channel, Channel]: ...


class RawPair(Protocol):
    """An engine's channel, and a peer that sends bare frames."""

    def __call__(self, **options: Any) -> tuple[Channel, Raw]: ...


class ForkedPeer(Protocol):
    """A channel here to a forked process that does work with its own end, a client's if `client`."""

    def __call__(
        self, work: Callable[[Channel], None], client: bool, **options: Any
    ) -> tuple[Channel, int]: ...


def make_pair(backend: Backend, **options: Any) -> tuple[Channel, Channel]:
    with closing(backend.listen()) as listening:
        accepted = in_future(lambda: listening.accept(**ENGINE, **options))
        client = backend.connect(listening.address, **CLIENT, **options)
        engine = accepted.result(30)
    engine.start_reader()
    return client, engine


def make_raw_pair(backend: Backend, **options: Any) -> tuple[Channel, Raw] | None:
    with closing(backend.listen()) as listening:
        accepted = in_future(lambda: listening.accept(**ENGINE, **options))
        raw = backend.raw(listening.address)
        if raw is None:
            return None
        engine = accepted.result(30)
    engine.start_reader()
    return engine, raw


def accept_from(backend: Backend, work: Callable[[Channel], None], options: Any) -> tuple[Channel, int]:
    """The engine's end here, the client in a child."""
    with closing(backend.listen()) as listening:
        address = listening.address
        pid = in_child(lambda: work(backend.connect(address, **CLIENT, **options)))
        engine = listening.accept(**options, peer="peer")
    engine.start_reader()
    return engine, pid


def connect_to(backend: Backend, work: Callable[[Channel], None], options: Any) -> tuple[Channel, int]:
    """The client's end here, the engine in a child, which tells through a pipe where it listens."""
    read, write = os.pipe()

    def serve() -> None:
        with closing(backend.listen()) as listening:
            os.write(write, listening.address.encode() + b"\n")
            channel = listening.accept(**ENGINE, **options)
        channel.start_reader()
        work(channel)

    pid = in_child(serve)
    os.close(write)
    with os.fdopen(read) as pipe:
        address = pipe.readline().strip()
    return backend.connect(address, service=True, deliver=True, peer="peer", **options), pid


def in_future(work: Callable[[], Any]) -> Future[Any]:
    """Work on a thread of its own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    in_thread(run)
    return future


def in_thread(work: Callable[..., Any], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Waits for a condition; AssertionError when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.002)


def gather(take: Callable[[], list[Any]], count: int, seconds: float = 10.0) -> list[Any]:
    """What take() gives, called until it gave count things in all."""
    got: list[Any] = []

    def enough() -> bool:
        got.extend(take())
        return len(got) >= count

    wait_until(enough, seconds)
    return got


def send_all(channel: Channel, tag: int, blocks: Iterable[bytes]) -> None:
    """Sends bulk messages of one tag, one after the other."""
    for block in blocks:
        channel.bulk(tag, block)


def in_child(work: Callable[[], Any]) -> int:
    """Runs work in a forked child, which exits 0 if it returns. Returns its pid.

    Without garbage collection: in a child, CPython has freed the frames of the other threads, and the
    collector crashes on frame objects that tracebacks of theirs still hold.
    """
    gc.disable()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    gc.enable()
    return pid


def ended(channel: Channel) -> tuple[int, str]:
    """How the channel ended; waits for it."""
    wait_until(lambda: channel.error)
    assert channel.error is not None
    return channel.error
