"""Control messages: C and flatc's Python read each other's, strangers' bytes are refused, hello works."""

from __future__ import annotations

import dataclasses
import random
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from remora.transport import genfbs, hello
from remora.transport._channel import carriers
from remora.transport.generated import control
from remora.transport.generated.shapes import SHAPES
from remora.transport.verify import Malformed

from .links import in_thread

pytestmark = pytest.mark.timeout(60)
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OK, UNREACHABLE, REFUSED, VERSION, BROKEN, ADDRESSES = range(6)

DEVICE = hello.Device(
    "GPU é", bytes(range(16)), 1 << 40, [7, -3, 2**31 - 1] * 50, 1 << 41, 1 << 36, "0000:01:00.0"
)
GRANT = hello.Grant(
    session=2**63 + 5,
    devices=[DEVICE, dataclasses.replace(DEVICE, name="second", attributes=[])],
    driver_version=13000,
    ring_bytes=1 << 22,
    bulk_window=16,
    priority_least=0,
    priority_greatest=-5,
    server="a server",
    va_base=0x100000000,
    va_bytes=0x40000000,
    silence_ms=30000,
)
MESSAGES: list[hello.Message] = [
    GRANT,
    hello.Hello(
        table_hash=2**64 - 1, ticket="t" * 100, pid=7, program="p", va_base=1 << 44, va_bytes=1 << 40
    ),
    hello.Hello(),
    hello.Refusal(hello.REASON_TOKEN, "wrong", table_hash=9),
    hello.Accept(True, 5, b"blob", "no such memory"),
    hello.Confirm("tcp", "shm failed"),
    hello.Hello(carriers=[hello.Carrier("shm", b"\0" * 100), hello.Carrier("tcp")]),
    hello.Ask(hello.REQUEST_LEASE, "token", 2, 250_000, 2048),
    hello.Answer(
        True,
        gpus=[hello.Gpu(1, "n", "GPU-1", 2, 3, 4)],
        sessions=[hello.SessionStats(1, 2, "p", 3, 4, [5, 6])],
        driver="softgpu",
    ),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C client of hello.h, built with every check that the compiler has."""
    program = tmp_path_factory.mktemp("hello") / "hello_client"
    sources = [
        HERE / "hello_client.c",
        *sorted((ROOT / "transport").glob("*.c")),
    ]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-I", str(ROOT)]
    subprocess.run(["gcc", *flags, *map(str, sources), "-o", str(program)], check=True)
    return program


class FakeServer:
    """Plays the server's part for one connection: what it heard is in .heard."""

    def __init__(self, play: Callable[[socket.socket], object], family: int = socket.AF_INET) -> None:
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self.listener = socket.create_server((host, 0), family=family)
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        self.address = f"{shown}:{self.listener.getsockname()[1]}"
        self.heard: list[hello.Message] = []
        self.thread = in_thread(self.serve, play)

    def serve(self, play: Callable[[socket.socket], object]) -> None:
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        with connection, self.listener:
            self.heard.append(hello.receive(connection))
            play(connection)

    def grant(self, connection: socket.socket, *bases: int) -> None:
        for base in bases:
            hello.send(connection, dataclasses.replace(GRANT, va_base=base))
            self.heard.append(hello.receive(connection))


def say_hello(client: Path, server: str, *words: str) -> tuple[int, list[str]]:
    done = subprocess.run([client, server, "abc", *words], capture_output=True, text=True, timeout=20)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


# ---- messages


@pytest.mark.parametrize("message", MESSAGES)
def test_what_is_encoded_is_decoded(message: hello.Message) -> None:
    assert hello.decode(hello.encode(message)) == message


def test_generated_code_is_what_the_schema_says() -> None:
    for path, text in genfbs.wanted().items():
        assert path.read_text() == text, f"{path.name}: run python -m remora.transport.genfbs"


def test_shapes_know_every_field() -> None:
    for name, kinds in SHAPES.items():
        adders = [word for word in vars(control) if word.startswith(f"{name}Add")]
        assert len(adders) == len(kinds), name


@pytest.mark.parametrize("message", MESSAGES)
def test_damaged_messages_are_refused_or_read_and_nothing_else(message: hello.Message) -> None:
    chance = random.Random(1)
    whole = hello.encode(message)
    for cut in range(len(whole)):
        with pytest.raises(Malformed):
            hello.decode(whole[: cut // 2])
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 255, chance.randrange(256)])
        try:
            hello.decode(bytes(damaged))
        except Malformed:
            pass


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\7\0\0\0", b"\1\0\x10\0", b"\xff\xff\xff\xff", b"GET "])
def test_lengths_are_checked_before_anything_is_read(head: bytes) -> None:
    with pytest.raises(Malformed):
        hello.frame_length(head)


# ---- hello: the C client and a Python server


def test_a_grant_arrives_in_c_as_python_wrote_it(client: Path) -> None:
    server = FakeServer(lambda connection: server.grant(connection, GRANT.va_base))
    status, lines = say_hello(client, server.address)
    server.thread.join(5)
    assert status == OK
    assert lines[0] == f"session {2**63 + 5} a server 13000 {1 << 22} 16 0 -5 30000 100000000 40000000"
    numbers = " ".join(map(str, [7, -3, 2**31 - 1] * 50))
    place = f"{1 << 40} {1 << 41:x} {1 << 36:x}"
    assert lines[1] == f"device GPU é 0000:01:00.0 {bytes(range(16)).hex()} {place} 150 {numbers}"
    assert lines[2] == f"device second 0000:01:00.0 {bytes(range(16)).hex()} {place} 0"
    said, accepted = server.heard
    assert isinstance(said, hello.Hello) and said.pid > 0
    offered = [one.name for one in said.carriers]
    assert offered == [name for name in carriers() if name in offered] and {"shm", "tcp"} <= set(offered)
    assert dataclasses.replace(said, pid=0, carriers=[]) == hello.Hello(
        table_hash=0xABC,
        ticket="the ticket",
        program="hello_client",
        va_base=0x100000000,
        va_bytes=0x40000000,
    )
    assert accepted == hello.Accept(True, 0x100000000)


def test_addresses_are_agreed_on(client: Path) -> None:
    server = FakeServer(lambda connection: server.grant(connection, 0x200000000, 0x700000000))
    status, lines = say_hello(client, server.address, "700000000")
    server.thread.join(5)
    assert status == OK and lines[0].endswith("700000000 40000000")
    assert server.heard[1:] == [hello.Accept(False, 0x700000000), hello.Accept(True, 0x700000000)]


def test_addresses_that_suit_nobody_end_after_some_rounds(client: Path) -> None:
    server = FakeServer(lambda connection: server.grant(connection, *[0x200000000] * 8))
    status, lines = say_hello(client, server.address, "700000000")
    assert status == ADDRESSES and "no address range" in lines[0]


def test_a_version_mismatch_names_both_versions(client: Path) -> None:
    refusal = hello.Refusal(hello.REASON_VERSION, "", 3, 4, 0x77)
    server = FakeServer(lambda connection: hello.send(connection, refusal))
    status, lines = say_hello(client, server.address)
    assert status == VERSION
    assert "3.4 (calls 0000000000000077)" in lines[0] and "0.1 (calls 0000000000000abc)" in lines[0]


def test_a_refusal_is_passed_on_in_one_line(client: Path) -> None:
    refusal = hello.Refusal(hello.REASON_TOKEN, "the ticket\nhas expired")
    server = FakeServer(lambda connection: hello.send(connection, refusal))
    assert say_hello(client, server.address) == (
        REFUSED,
        [f"{server.address}: refused: the ticket has expired"],
    )


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"", UNREACHABLE, "closed the connection without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n", BROKEN, "not that of a Remora server"),
        (b"\xff\xff\xff\xff", BROKEN, "not that of a Remora server"),
        (struct.pack("<I", 64) + b"RM", UNREACHABLE, "closed the connection"),
        (struct.pack("<I", 16) + bytes(16), BROKEN, "not that of a Remora server"),
        (struct.pack("<I", 16) + b"\xff\xff\xff\xffRMGR" + bytes(8), BROKEN, "not that of a Remora server"),
    ],
)
def test_answers_that_are_none(client: Path, answer: bytes, status: int, words: str) -> None:
    server = FakeServer(lambda connection: connection.sendall(answer))
    got, lines = say_hello(client, server.address)
    assert got == status and len(lines) == 1
    assert lines[0].startswith(server.address + ": ") and words in lines[0]


def test_damaged_grants_do_not_harm_the_c_reader(client: Path) -> None:
    chance = random.Random(3)
    whole = hello.encode(GRANT)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(8, len(damaged))] = chance.choice([0, 1, 255, chance.randrange(256)])
        server = FakeServer(lambda connection, d=damaged: connection.sendall(struct.pack("<I", len(d)) + d))
        done = subprocess.run([client, server.address, "abc"], capture_output=True, timeout=20)
        assert not done.stderr and 0 <= done.returncode <= ADDRESSES


def test_a_server_that_says_nothing(client: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        status, lines = say_hello(client, address)
    assert status == UNREACHABLE and "no answer in time" in lines[0]


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "no-such-host.invalid:80", "zzz", "1.2.3.4:99999", ":80", "h:"]
)
def test_servers_that_are_not_there(client: Path, address: str) -> None:
    status, lines = say_hello(client, address)
    assert status == UNREACHABLE and lines[0].startswith(address + ": ") and len(lines) == 1


def test_names_and_ipv6(client: Path) -> None:
    server = FakeServer(lambda connection: server.grant(connection, GRANT.va_base))
    assert say_hello(client, server.address.replace("127.0.0.1", "localhost"))[0] == OK
    try:
        server6 = FakeServer(lambda connection: server6.grant(connection, GRANT.va_base), socket.AF_INET6)
    except OSError:
        return  # no IPv6 on this machine
    assert say_hello(client, server6.address)[0] == OK


# ---- the Python side of requests


def test_request_and_answer() -> None:
    answer = hello.Answer(True, ticket="a ticket")
    server = FakeServer(lambda connection: hello.send(connection, answer))
    connection, got = hello.request(server.address, hello.Ask(hello.REQUEST_LEASE, "token"))
    connection.close()
    assert got == answer and server.heard == [hello.Ask(hello.REQUEST_LEASE, "token")]


def test_a_failed_request_names_the_server() -> None:
    server = FakeServer(lambda connection: connection.sendall(b"HTTP/1.1 400\r\n"))
    for address in (server.address, "127.0.0.1:9"):
        with pytest.raises(ConnectionError, match=address):
            hello.request(address, hello.Ask(hello.REQUEST_LIST), 5)
    with pytest.raises(ValueError, match="not an address"):
        hello.split_address("no port")
