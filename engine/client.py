"""Asking an engine's control plane for leases, lists and statistics. Needs no driver on this machine.

Every function raises EngineError with one line that names the server and says what to do.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from remora.transport import hello

from . import settings
from .errors import EngineError
from .settings import DEFAULT_PORT

__all__ = ["DEFAULT_PORT", "EngineError", "Lease", "list_gpus", "request_lease", "stats"]


class Lease:
    """GPUs held until close(), or until this process ends.

    ticket goes to the program's environment; devices are dicts {index, name, uuid, memory, free, leases} of
    the partitions, in bytes; driver is nvidia or softgpu.
    """

    def __init__(self, connection: Any, answer: hello.Answer) -> None:
        self._connection = connection
        self.ticket = answer.ticket
        self.devices = [asdict(gpu) for gpu in answer.gpus]
        self.server_name = answer.server
        self.driver = answer.driver

    def fileno(self) -> int:
        """Of the control connection: readable when the engine has gone."""
        return int(self._connection.fileno())

    def close(self) -> None:
        """Gives the GPUs back."""
        self._connection.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ask(server: str, ask: hello.Ask) -> tuple[Any, hello.Answer]:
    """Sends one request; the connection and the answer, which says yes."""
    try:
        connection, answer = hello.request(server, ask, settings.CONTROL_SECONDS)
    except (OSError, ValueError) as error:
        raise EngineError(str(error)) from None
    if isinstance(answer, hello.Answer) and answer.ok:
        return connection, answer
    connection.close()
    if isinstance(answer, hello.Answer):
        raise EngineError(f"{server}: {answer.message}")
    raise EngineError(
        f"{server}: answered with {type(answer).__name__}; is it a Remora server of this version?"
    )


def request_lease(
    server: str, token: str = "", gpus: int = 1, fraction: float | None = None, mem_mib: int | None = None
) -> Lease:
    """gpus devices, each a fraction (0.01 to 1) or so many MiB of a GPU; neither: whole ones."""
    if fraction is not None and not 0.01 <= fraction <= 1:
        raise EngineError(f"a fraction lies between 0.01 and 1, not {fraction:g}")
    if mem_mib is not None and mem_mib < 1:
        raise EngineError(f"memory is at least 1 MiB, not {mem_mib}")
    ask = hello.Ask(
        hello.REQUEST_LEASE,
        token or "",
        gpus,
        round((fraction or 0) * 1e6),
        mem_mib or 0,
        program=Path(sys.argv[0]).name,
    )
    connection, answer = _ask(server, ask)
    connection.settimeout(None)
    return Lease(connection, answer)


def list_gpus(server: str, token: str = "") -> list[dict[str, Any]]:
    """{index, name, uuid, memory, free, leases} of each GPU, in bytes."""
    connection, answer = _ask(server, hello.Ask(hello.REQUEST_LIST, token or ""))
    connection.close()
    return [asdict(gpu) for gpu in answer.gpus]


def stats(server: str, token: str = "") -> dict[str, Any]:
    """{server, driver, gpus, sessions: [{session, pid, program, calls, answers, memory}]}."""
    connection, answer = _ask(server, hello.Ask(hello.REQUEST_STATS, token or ""))
    connection.close()
    return {
        "server": answer.server,
        "driver": answer.driver,
        "gpus": [asdict(gpu) for gpu in answer.gpus],
        "sessions": [asdict(session) for session in answer.sessions],
    }
