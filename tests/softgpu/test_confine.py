"""What the worker of a software GPU and its compile service have given up."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.programs import harness, toolchain
from tests.softgpu import driver as cuda
from tests.softgpu.driver import Driver

WARM_S = 20.0
TRIES = """
import ctypes, os, resource, socket, subprocess, sys
from remora.engine.confine import confine

confine(programs={programs}, network={network})
libc = ctypes.CDLL(None, use_errno=True)

def refused(attempt):
    try:
        attempt()
    except PermissionError:
        return True
    return False

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

assert refused(lambda: call("ptrace", 0, 0, 0, 0))
assert refused(lambda: call("unshare", 0x10000000))
assert refused(lambda: call("chroot", b"/"))
assert refused(lambda: socket.socket(socket.AF_INET)) != {network}
assert refused(lambda: os.execv("/bin/true", ["true"])) if not {programs} else not subprocess.call("true")
socket.socket(socket.AF_UNIX).close()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
print(open("/proc/self/status").read())
"""


def status(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def confined(text: str) -> bool:
    told = status(text)
    return (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")


def test_what_was_given_up_is_refused_and_the_rest_works() -> None:
    for programs, network in ((False, False), (True, True)):
        script = TRIES.format(programs=programs, network=network)
        end = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=toolchain.ROOT
        )
        assert end.returncode == 0 and confined(end.stdout), end.stderr


def processes(word: str) -> dict[int, Path]:
    """Those of this user that have the word in their command line: id -> folder in /proc."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and word.encode() in (folder / "cmdline").read_bytes():
                found[int(folder.name)] = folder
        except OSError:
            continue
    found.pop(os.getpid(), None)
    return found


def test_the_compile_service_is_confined(gpu: Driver, settings: dict[str, str]) -> None:
    gpu.module(cuda.PTX + "// another image\n")
    services = processes(settings["REMORA_SOFTGPU_CACHE"])
    assert services and all(confined((folder / "status").read_text()) for folder in services.values())


def workers(server: harness.Server) -> list[str]:
    """The states of a server's workers; of those that end meanwhile, nothing."""
    texts = []
    for folder in processes("remora.engine.serving").values():
        with contextlib.suppress(OSError):
            texts.append((folder / "status").read_text())
    return [text for text in texts if status(text)["PPid"] == str(server.process.pid)]


def test_the_workers_are_confined(tmp_path: Path) -> None:
    with harness.server(tmp_path, REMORA_SOFTGPU_MEMORY_MIB="64") as server:
        end = time.monotonic() + WARM_S  # a spare one may still be warming up
        while not (found := workers(server)) or not all(map(confined, found)):
            assert time.monotonic() < end, found
            time.sleep(0.05)
