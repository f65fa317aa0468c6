"""Who gets a session: hellos, tickets, tokens; and what garbage does to others (nothing)."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable

import pytest

from remora.engine import client, settings
from remora.engine.errors import EngineError
from remora.engine.server import Server
from remora.transport import hello
from tests.engine.peer import TABLE_HASH, Peer, Refused, greeting


def dial(server: Server) -> socket.socket:
    host, port = hello.split_address(server.address)
    return socket.create_connection((host, port), 20)


def drained(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def test_a_session_and_its_devices(attach: Callable[..., Peer], server: Server) -> None:
    with client.request_lease(server.address, gpus=2, mem_mib=64) as lease, attach(lease.ticket) as peer:
        assert [device.total_mem for device in peer.grant.devices] == [64 << 20] * 2
        assert peer.grant.devices[0].uuid != peer.grant.devices[1].uuid
        assert peer.info(1) == peer.info(2) == (64 << 20, 64 << 20)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"major": 9}, "protocol 9"),
        ({"table_hash": TABLE_HASH ^ 1}, "call table"),
        ({"ticket": "made up"}, "ticket is unknown"),
        ({"va_bytes": 4096}, "addresses"),
    ],
)
def test_refusals_say_why(server: Server, changes: dict[str, object], reason: str) -> None:
    ticket = str(changes.pop("ticket", ""))
    with pytest.raises(Refused, match=reason):
        Peer(server.address, ticket, **changes)


def test_a_ticket_ends_with_its_lease(server: Server, attach: Callable[..., Peer]) -> None:
    lease = client.request_lease(server.address, fraction=0.25)
    peer = attach(lease.ticket)
    lease.close()
    assert peer.ended()
    with pytest.raises(Refused, match="ticket is unknown"):
        attach(lease.ticket)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x10",
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<I", 100) + b"RMHE",
        os.urandom(4096),
        b"GET / HTTP/1.1\r\n\r\n",
        hello.frame(hello.Grant()),
        hello.frame(greeting())[:-5],
    ],
    ids=["nothing", "byte", "huge", "short", "noise", "http", "grant", "cut hello"],
)
def test_garbage_is_answered_and_forgotten(
    server: Server, garbage: bytes, attach: Callable[..., Peer]
) -> None:
    with dial(server) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        drained(connection)
    assert attach().info(1)


def test_an_oversized_frame_is_told_so(server: Server) -> None:
    with dial(server) as connection:
        connection.sendall(struct.pack("<I", 0x7FFFFFFF) + b"x" * 100)
        answer = hello.receive(connection)
        assert isinstance(answer, hello.Refusal) and "bytes" in answer.message


def test_silent_clients_hold_up_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch, attach: Callable[..., Peer]
) -> None:
    monkeypatch.setattr(settings, "HANDSHAKE_SECONDS", 1.0)
    silent = [dial(server) for _ in range(20)]
    start = time.monotonic()
    assert attach().info(1)
    assert time.monotonic() - start < 5
    for connection in silent:
        connection.settimeout(10)
        drained(connection)
        connection.close()


def test_a_client_that_drips_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "HANDSHAKE_SECONDS", 1.0)
    frame = hello.frame(greeting())
    with dial(server) as connection, pytest.raises(OSError):
        for index in range(len(frame)):
            connection.sendall(frame[index : index + 1])
            time.sleep(0.2)
            assert index < 30


def test_a_wide_address_needs_a_token() -> None:
    for listen in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(EngineError, match="token"):
            Server(listen, "softgpu").start()


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", "256.1.1.1:0", "no.such.host.invalid:1"])
def test_an_address_that_is_none(listen: str) -> None:
    with pytest.raises(EngineError, match="cannot listen"):
        Server(listen, "softgpu").start()


def test_a_port_in_use(server: Server) -> None:
    with pytest.raises(EngineError, match="another engine"):
        Server(server.address, "softgpu").start()


def test_no_such_driver() -> None:
    with pytest.raises(EngineError, match="no driver is called"):
        Server("127.0.0.1:0", "voodoo").start()


def test_the_token(server: Server) -> None:
    guarded = Server("127.0.0.1:0", "softgpu", token="sesame")
    guarded.start()
    try:
        for wrong in ("", "Sesame", "sesame "):
            with pytest.raises(EngineError, match="token is wrong or missing"):
                client.request_lease(guarded.address, wrong)
            with pytest.raises(EngineError, match="token is wrong or missing"):
                client.list_gpus(guarded.address, wrong)
        with pytest.raises(Refused, match="needs a ticket"):
            Peer(guarded.address)
        with (
            client.request_lease(guarded.address, "sesame") as lease,
            Peer(guarded.address, lease.ticket) as peer,
        ):
            assert peer.info(1)
    finally:
        start = time.monotonic()
        guarded.stop()
        assert time.monotonic() - start < 5


def test_more_than_there_is(server: Server) -> None:
    for wish in ({"gpus": 9}, {"mem_mib": 1 << 20}, {"gpus": 2, "fraction": 2.0}):
        with pytest.raises(EngineError):
            client.request_lease(server.address, **wish)  # type: ignore[arg-type]
    assert all(gpu["free"] == gpu["memory"] for gpu in client.list_gpus(server.address))


def test_nobody_there() -> None:
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1: cannot connect"):
        client.list_gpus("127.0.0.1:1")
