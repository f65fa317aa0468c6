"""Remora as a user starts it: `remora serve` on one side, `remora run -- PROGRAM` on the other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remora.bench.placement import Placement
from remora.bench.programs import BUILT, BenchError, Program, build, placed
from remora.engine import client

REMORA = [sys.executable, "-c", "from remora.engine.cli import main; main()"]
START_SECONDS = 30
SETTLE_SECONDS = 0.05  # an answer is counted just after it was sent


@dataclass(frozen=True)
class Operations:
    """Records that a session's worker dispatched, and replies that it sent."""

    calls: int
    answers: int

    def __sub__(self, earlier: Operations) -> Operations:
        return Operations(self.calls - earlier.calls, self.answers - earlier.answers)


class Server:
    """`remora serve` on a port of its own, driving the software GPU (or another driver)."""

    def __init__(self, placement: Placement, driver: str = "softgpu", transport: str = "tcp") -> None:
        self.placement = placement
        self.transport = transport
        self.address = f"127.0.0.1:{_free_port()}"
        BUILT.mkdir(parents=True, exist_ok=True)
        self.log = BUILT / f"serve-{placement.name}.log"
        command = [*REMORA, "serve", "--listen", self.address, "--driver", driver]
        with placed(placement.server), self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._await_door()

    def client(self, under: Callable[[list[str]], list[str]] = list) -> Program:
        """The measuring CUDA program, run through this server (and under a tool, if one is given)."""
        program = under([str(build("client"))])
        command = [*REMORA, "run", "--server", self.address, "--transport", self.transport, "--", *program]
        return Program(command, self.placement.client, dict(os.environ))

    def operations(self) -> Operations:
        """What the engine says it did for the one session that is attached, once it has come to rest."""
        now = self._operations()
        while True:
            earlier = now
            time.sleep(SETTLE_SECONDS)
            now = self._operations()
            if now == earlier:
                return now

    def _operations(self) -> Operations:
        sessions = client.stats(self.address)["sessions"]
        if len(sessions) != 1:
            raise BenchError(f"one session was expected, the engine has {len(sessions)}")
        return Operations(int(sessions[0]["calls"]), int(sessions[0]["answers"]))

    def _await_door(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                client.list_gpus(self.address)
                return
            except client.EngineError:
                time.sleep(0.05)
        self.close()
        raise BenchError(f"remora serve does not answer; it said:\n{Path(self.log).read_text()[-2000:]}")

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
