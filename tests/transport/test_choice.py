"""What carries a session is agreed on in the hello, said on both ends; a forced carrier is never replaced."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remora.engine import client as control
from remora.transport import hello
from remora.transport._channel import Carrying
from tests.engine.peer import greeting
from tests.programs import harness

pytestmark = pytest.mark.timeout(120)
SHARE_MIB = 64  # so that a session may begin while the one before ends
ASK = [sys.executable, "-c", "import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    with harness.server(tmp_path_factory.mktemp("auto")) as running:
        yield running


@pytest.fixture(scope="module")
def only_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    with harness.server(tmp_path_factory.mktemp("tcp"), "--transport", "tcp") as running:
        yield running


def ask(server: harness.Server, folder: Path, *options: str) -> harness.Result:
    result = server.run(ASK, folder, options=options, REMORA_LOG="info")
    assert result.status == 0
    return result


def test_one_host_has_shared_memory_and_both_ends_say_so(server: harness.Server, tmp_path: Path) -> None:
    result = ask(server, tmp_path)
    assert result.output.strip() == "0" and f"remora: {server.address}: transport shm" in result.errors
    assert "transport shm" in server.log.read_text()


def test_a_server_that_is_set_to_tcp_says_why(only_tcp: harness.Server, tmp_path: Path) -> None:
    result = ask(only_tcp, tmp_path)
    assert result.output.strip() == "0"
    assert "transport tcp: shm: this server is set to tcp" in result.errors
    assert "transport tcp (shm: this server is set to tcp" in only_tcp.log.read_text()


def test_a_client_that_insists_gets_an_error_and_no_fallback(
    only_tcp: harness.Server, tmp_path: Path
) -> None:
    result = ask(only_tcp, tmp_path, "--transport", "shm")
    assert result.output.strip() != "0"
    assert "refused: no transport suits both sides: shm: this server is set to tcp" in result.errors
    assert "transport tcp" not in result.errors


def test_a_carrier_that_this_machine_lacks_is_not_replaced(server: harness.Server, tmp_path: Path) -> None:
    result = ask(server, tmp_path, "--transport", "carrier-pigeon")
    assert result.output.strip() != "0"
    assert "no session over carrier-pigeon: there is no such transport" in result.errors


def test_a_server_with_an_unknown_transport_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="there is no transport smoke-signals: choose auto, shm"),
        harness.server(tmp_path, "--transport", "smoke-signals"),
    ):
        pass


# ---- messages by hand


class Session:
    """A client that says hello with these carriers."""

    def __init__(self, server: harness.Server, carriers: list[hello.Carrier]) -> None:
        token = server.token_file.read_text()
        self.lease = control.request_lease(server.address, token, mem_mib=SHARE_MIB)
        said = greeting(self.lease.ticket, va_base=0x3F0000000000, va_bytes=1 << 36, carriers=carriers)
        self.connection, answer = hello.request(server.address, said, 30)
        assert isinstance(answer, hello.Grant), answer
        self.grant = answer

    def accept(self, **words: object) -> hello.Confirm:
        hello.send(self.connection, hello.Accept(True, self.grant.va_base, **words))  # type: ignore[arg-type]
        answer = hello.receive(self.connection)
        assert isinstance(answer, hello.Confirm)
        return answer

    def close(self) -> None:
        self.connection.close()
        self.lease.close()


def shm_offer() -> tuple[Carrying, hello.Carrier]:
    carrying = Carrying("shm", 0)
    return carrying, hello.Carrier("shm", carrying.offer())


def test_what_nobody_knows_is_passed_over(server: harness.Server) -> None:
    session = Session(server, [hello.Carrier("warp", b"\0" * 4096), hello.Carrier("tcp")])
    assert (
        session.grant.carrier == "tcp"
        and session.grant.carrier_why == "warp: warp: there is no such transport"
    )
    session.close()


def test_a_client_of_another_host_gets_tcp(server: harness.Server) -> None:
    _, offer = shm_offer()
    offer.blob = offer.blob[:8] + b"f" * 36 + offer.blob[44:]
    session = Session(server, [offer, hello.Carrier("tcp")])
    assert session.grant.carrier == "tcp"
    assert session.grant.carrier_why == "shm: the client is on another host"
    session.close()


def test_what_fails_on_the_clients_side_falls_back(server: harness.Server) -> None:
    carrying, offer = shm_offer()
    session = Session(server, [offer, hello.Carrier("tcp")])
    assert session.grant.carrier == "shm"
    confirm = session.accept(carrier_failed="no room")
    assert confirm.carrier == "tcp" and "shm failed on the client's side: no room" in confirm.why
    del carrying
    session.close()


def test_what_fails_on_the_servers_side_falls_back(server: harness.Server) -> None:
    carrying, offer = shm_offer()
    session = Session(server, [offer, hello.Carrier("tcp")])
    confirm = session.accept()  # it claims to have mapped what it has not
    assert confirm.carrier == "tcp" and "the client has not mapped the memory" in confirm.why
    del carrying
    session.close()


def test_nothing_falls_back_that_was_forced(server: harness.Server) -> None:
    carrying, offer = shm_offer()
    session = Session(server, [offer])
    confirm = session.accept(carrier_failed="no room")
    assert confirm.carrier == "" and "no room" in confirm.why
    session.connection.settimeout(10)
    while session.connection.recv(4096):
        pass  # the server ends it, perhaps after more words
    del carrying
    session.close()


def test_agreed_on_by_hand(server: harness.Server) -> None:
    carrying, offer = shm_offer()
    session = Session(server, [offer, hello.Carrier("tcp")])
    carrying.accept(session.grant.carrier_blob)
    assert session.accept().carrier == "shm"
    session.connection.settimeout(0.3)
    with pytest.raises(socket.timeout):
        session.connection.recv(1)  # nothing ever comes over the lifeline
    session.close()
