"""What goes wrong gives a clear error in CUDA's terms and one line, hangs nothing, and harms no one else."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remora.engine import client
from remora.shim.launcher import environment
from tests.programs import harness, toolchain
from tests.programs.harness import (
    REMORA,
    Server,
    clean_environment,
    cuda_program,
    finish,
    python_program,
    wait_until,
)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may harm."""
    with harness.server(tmp_path, REMORA_SOFTGPU_DEVICES="1", REMORA_SOFTGPU_MEMORY_MIB="512") as running:
        yield running


def begin(command: list[str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, *arguments],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hold(server: Server, folder: Path, mib: int, *options: str) -> subprocess.Popen[str]:
    """A program that computes and holds memory, once it is at it."""
    folder.mkdir(exist_ok=True)
    program = begin([*server.command(*options), *cuda_program("hold")], str(folder), str(mib))
    wait_until("the program computes", lambda: (folder / "ready").exists() or program.poll() is not None)
    assert program.poll() is None, program.communicate()
    return program


def still_serves(server: Server, folder: Path) -> None:
    server.run(cuda_program("vector_add"), folder, "1000").expect_success()


def one_line(errors: str, *words: str) -> None:
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("remora: ")
    for word in words:
        assert word in lines[0], errors


def test_no_server_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = finish(
            [*REMORA, "run", "--server", address, "--", "true"], clean_environment(), tmp_path, 20
        )
    assert result.status == 1
    one_line(result.errors, address)


def test_server_name_that_does_not_resolve(tmp_path: Path) -> None:
    command = [*REMORA, "run", "--server", "no-such-host.invalid:4242", "--", "true"]
    result = finish(command, clean_environment(), tmp_path, 30)
    assert result.status == 1
    one_line(result.errors, "no-such-host.invalid")


def test_server_that_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        result = finish(
            [*REMORA, "run", "--server", address, "--", "true"], clean_environment(), tmp_path, 60
        )
    assert result.status == 1 and time.monotonic() - start < 45
    one_line(result.errors, address)


def test_server_that_is_something_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        command = [*REMORA, "run", "--server", address, "--", "true"]
        program = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE, text=True)
        connection, _ = other.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()
        errors = program.communicate(timeout=30)[1]
    assert program.returncode == 1
    one_line(errors, address)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_wrong_or_missing_token(server: Server, tmp_path: Path, token: str | None) -> None:
    options = []
    if token:
        (tmp_path / "wrong").write_text(token)
        options = ["--token-file", str(tmp_path / "wrong")]
    command = [*REMORA, "run", "--server", server.address, *options, "--", "true"]
    result = finish(command, clean_environment(), tmp_path, 20)
    assert result.status == 1
    one_line(result.errors, server.address, "token")
    still_serves(server, tmp_path)


def test_wider_address_without_token(tmp_path: Path) -> None:
    command = [*REMORA, "serve", "--listen", "0.0.0.0:0", "--driver", "softgpu"]
    result = finish(command, clean_environment(), tmp_path, 20)
    assert result.status == 1
    one_line(result.errors, "token")


def shim_alone(server: str, ticket: str, folder: Path, seconds: float = 60) -> harness.Result:
    """A program with the shim but without a launcher: what it says of a server that won't have it."""
    settings = environment.for_remote(clean_environment(), server=server, ticket=ticket)
    return finish(cuda_program("first_call"), settings, folder, seconds)


def test_forged_ticket(server: Server, tmp_path: Path) -> None:
    result = shim_alone(server.address, "f" * 64, tmp_path)
    assert result.status == 5
    assert "cudaErrorDevicesUnavailable" in result.output
    one_line(result.errors, server.address)


def test_other_table_of_calls(server: Server, tmp_path: Path) -> None:
    """A shim of another build, made from ours by changing the hash of the table that it greets with."""
    header = (toolchain.ROOT / "shim" / "generated" / "records.h").read_text()
    found = re.search(r"#define RM_TABLE_HASH\s+(?:UINT64_C\()?(0x[0-9a-fA-F]+)", header)
    assert found
    ours = struct.pack("<Q", int(found[1], 16))
    library = (environment.SHIM_FOLDER / "libcuda.so.1").read_bytes()
    assert ours in library
    (tmp_path / "libcuda.so.1").write_bytes(library.replace(ours, bytes(b ^ 0xFF for b in ours)))
    with client.request_lease(server.address, token=server.token_file.read_text()) as lease:
        settings = environment.for_remote(clean_environment(), server=server.address, ticket=lease.ticket)
        settings["LD_LIBRARY_PATH"] = str(tmp_path)
        result = finish(cuda_program("first_call"), settings, tmp_path)
    assert result.status == 5
    assert "cudaErrorSystemDriverMismatch" in result.output
    one_line(result.errors, server.address)
    still_serves(server, tmp_path)


def test_attach_to_no_server(tmp_path: Path) -> None:
    result = shim_alone("127.0.0.1:9", "", tmp_path)
    assert result.status == 5
    assert "cudaErrorNoDevice" in result.output
    one_line(result.errors, "127.0.0.1:9")


def test_attach_to_a_silent_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        result = shim_alone(address, "", tmp_path, 80)
    assert result.status == 5
    one_line(result.errors, address)


def test_oversized_and_truncated_hello(server: Server, tmp_path: Path) -> None:
    host, port = server.address.rsplit(":", 1)
    for frame in (struct.pack("<I", 0xFFFFFFFF), struct.pack("<I", 100) + b"RMHE", b"\x10", os.urandom(4096)):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(frame)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            # The server answers or not, but it ends the connection.
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
    still_serves(server, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_dying_client_frees_what_it_held(own_server: Server, tmp_path: Path, number: int) -> None:
    program = hold(own_server, tmp_path / "a", 300)
    assert own_server.run(cuda_program("quota"), tmp_path, options=["-m", "400"]).status != 0
    program.send_signal(number)
    assert program.wait(20) == -number

    def freed() -> bool:
        return own_server.run(cuda_program("quota"), tmp_path, options=["-m", "500"]).status == 0

    wait_until("the memory of the dead client is free", freed, 30)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_dying_engine(own_server: Server, tmp_path: Path, number: int) -> None:
    program = hold(own_server, tmp_path / "a", 10)
    os.kill(own_server.process.pid, number)
    output, errors = program.communicate(timeout=40)
    assert program.returncode == 9, (output, errors)
    assert "hold: cudaErrorOperatingSystem" in errors
    said = [
        line for line in errors.splitlines() if line.startswith("remora: ") and own_server.address in line
    ]
    assert len(said) == 1, errors


def test_peer_that_goes_silent(own_server: Server, tmp_path: Path) -> None:
    program = hold(own_server, tmp_path / "a", 10)
    family = [own_server.process.pid, *all_children(own_server.process.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        output, errors = program.communicate(timeout=80)
        assert program.returncode == 9, (output, errors)
        assert "hold: cudaErrorOperatingSystem" in errors
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    wait_until("the server serves again", lambda: own_server.process.poll() is None)
    still_serves(own_server, tmp_path)


def all_children(pid: int) -> list[int]:
    from remora.shim.launcher.mapped import descendants

    return descendants(pid)


def test_ctrl_c_during_a_wait(server: Server, tmp_path: Path) -> None:
    program = begin([*server.command(), *cuda_program("long_wait")], str(tmp_path))
    try:
        wait_until("the program waits", lambda: (tmp_path / "ready").exists())
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == -signal.SIGINT
    finally:
        program.kill()
        program.communicate()
    still_serves(server, tmp_path)


def test_ctrl_c_in_python_during_a_wait(server: Server, tmp_path: Path) -> None:
    program = begin([*server.command(), *python_program("endless")], str(tmp_path))
    try:
        wait_until(
            "the program waits", lambda: (tmp_path / "ready").exists() or program.poll() is not None, 40
        )
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)  # Python's handler runs only when the call returns
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == -signal.SIGTERM
    finally:
        program.kill()
        program.communicate()
    still_serves(server, tmp_path)


def test_more_than_the_quota(server: Server, tmp_path: Path) -> None:
    result = server.run(cuda_program("hold"), tmp_path, "100", options=["-m", "50"])
    assert result.status == 1
    assert "out of memory" in result.errors
