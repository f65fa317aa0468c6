"""The supervisor's hand on its worker processes: keeps a warm one, hands sessions over, reaps the dead.

Must not know: leases, tickets, the wire.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import driver, link, settings
from .errors import EngineError

log = logging.getLogger("remora.engine")


class Worker:
    """One worker process: warm until it is given a session, gone with it."""

    def __init__(self, library: driver.Library) -> None:
        self.link, theirs = link.pair()
        command = [
            sys.executable,
            "-m",
            "remora.engine.serving",
            str(theirs.fileno()),
            library.kind,
            str(library.path),
        ]
        environment = driver.clean_environment(dict(os.environ))
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()

    def warm(self) -> dict[str, Any]:
        """Waits until it is ready. What its driver says of the devices. Raises EngineError."""
        self.link.settimeout(settings.READY_SECONDS)
        got = link.receive(self.link)
        self.link.settimeout(None)
        if got and "ready" in got[0]:
            return dict(got[0]["ready"])
        self.kill()
        raise EngineError(
            str(got[0]["failed"]) if got else f"a worker process ended while starting ({self.ending()})"
        )

    def start(self, job: dict[str, Any], fds: list[int]) -> None:
        """Gives it its session. Raises OSError when it is gone."""
        link.send(self.link, job, fds)

    def wait(self, told: Callable[[dict[str, Any]], None]) -> str:
        """Blocks until the process is gone. Why it ended, in words. told gets what it says before."""
        got = link.receive(self.link)
        while got and "ended" not in got[0]:
            told(got[0])
            got = link.receive(self.link)
        self.link.close()
        try:
            self.process.wait(settings.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        return str(got[0]["ended"]) if got and "ended" in got[0] else f"its worker died: {self.ending()}"

    def ending(self) -> str:
        """How the process ended, in words."""
        try:
            code = self.process.wait(settings.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return "it does not end"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def release(self) -> None:
        """Asks it to end: it watches this."""
        try:
            self.link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Workers:
    """A warm worker in reserve, and the facts that the first one told."""

    def __init__(self, library: driver.Library) -> None:
        self.library = library
        self.facts: dict[str, Any] = {}
        self.spares: list[Worker] = []
        self.all: set[Worker] = set()
        self.failure: str = ""
        self.stopping = False
        self.changed = threading.Condition()
        self.keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Starts the first worker and waits for it. Raises EngineError when its driver fails."""
        self.keeper.start()
        with self.changed:
            self.changed.wait_for(lambda: self.spares or self.failure)
            if not self.spares:
                raise EngineError(self.failure)

    def _keep(self) -> None:
        """Keeps spares warm. All workers are made by this one thread: the kernel ends them with it."""
        while not self.stopping:
            with self.changed:
                self.changed.wait_for(lambda: self.stopping or len(self.spares) < settings.SPARES)
            if not self.stopping:
                self._add()

    def _add(self) -> None:
        try:
            worker = Worker(self.library)
            with self.changed:
                self.all.add(worker)
            told = worker.warm()
        except (EngineError, OSError) as error:
            self._failed(str(error))
            return
        with self.changed:
            self.facts, self.failure = told, ""
            self.spares.append(worker)
            self.changed.notify_all()

    def _failed(self, why: str) -> None:
        with self.changed:
            self.failure = why
            self.changed.notify_all()
        if not self.stopping:
            log.error("no worker can be started: %s", why)
            time.sleep(1)

    def run(
        self,
        job: dict[str, Any],
        fds: list[int],
        started: Callable[[Worker], None],
        told: Callable[[dict[str, Any]], None],
    ) -> str:
        """Gives a warm worker the session and waits for its end: why it ended. Raises EngineError."""
        for _ in range(3):
            worker = self._take()
            try:
                worker.start(job, fds)
            except OSError:
                self._forget(worker)
                continue
            started(worker)
            try:
                return worker.wait(told)
            finally:
                self._forget(worker)
        raise EngineError("worker processes die as they start")

    def _take(self) -> Worker:
        with self.changed:
            self.changed.wait_for(lambda: self.spares or self.stopping, settings.READY_SECONDS)
            if not self.spares:
                raise EngineError(self.failure or "no worker is ready: the engine is stopping or overloaded")
            worker = self.spares.pop()
            self.changed.notify_all()
            return worker

    def _forget(self, worker: Worker) -> None:
        with self.changed:
            self.all.discard(worker)

    def stop(self) -> None:
        """Ends all workers within STOP_SECONDS."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
            workers = list(self.all)
        for worker in workers:
            worker.release()
        deadline = time.monotonic() + settings.STOP_SECONDS
        for worker in workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
