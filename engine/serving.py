"""A worker process: warms up, waits for one session, serves it, and ends with it.

Started by the supervisor as ``python -m remora.engine.serving FD KIND PATH``; FD is its end of the link. It
tells the supervisor what devices there are, is handed a client's socket with what it may use, agrees with the
client on addresses, and runs the call loop. It ends with its client and with its supervisor.
Must not know: leases, tickets.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from remora.transport import hello

from . import driver, facts, link, settings
from .carriers import Choice
from .confine import confine
from .errors import EngineError

PR_SET_PDEATHSIG = 1
log = logging.getLogger("remora.engine.worker")


def die_with_parent() -> None:
    """Asks the kernel to kill this process when the supervisor's spawning thread ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def leave_the_terminal() -> None:
    """Its keys are the supervisor's: a process group of its own. Not a session, though: Linux schedules
    sessions as groups, and switching between two of them cost 3 % of a waiting call on one processor."""
    os.setpgid(0, 0)


def watch(supervisor: socket.socket) -> None:
    """Ends the process when the supervisor closes its end: the lease is over, or it is gone."""
    link.receive(supervisor)
    os._exit(0)


def place_range(size: int, client_base: int) -> int:
    """Reserves device addresses, where the client has them if possible. The address."""
    from . import session

    got = session.reserve(size, client_base)
    if got == client_base or not client_base:
        return int(got)
    session.unreserve(got, size)
    return int(session.reserve(size, 0))


def part_bytes(memory: int, offered: int, parts: int) -> int:
    """Addresses for each device: room for holes between allocations, within what the client has."""
    gib = 1 << 30
    wanted = max(settings.RANGE_GIB_LEAST * gib, -(-memory * settings.RANGE_FACTOR // gib) * gib)
    return min(wanted, offered // parts // gib * gib)


def agree(
    client: socket.socket,
    greeting: hello.Hello,
    job: dict[str, Any],
    gathered: dict[str, Any],
    choice: Choice,
) -> list[tuple[int, int]]:
    """Grants the session, round by round until both sides have the addresses: (base, bytes) of devices."""
    from . import session

    parts = job["parts"]
    each = part_bytes(max(part["memory"] for part in parts), greeting.va_bytes, len(parts))
    if each == 0:
        raise EngineError(
            f"the client offers {greeting.va_bytes} bytes of addresses for {len(parts)} devices: too few"
        )
    wanted = greeting.va_base
    for _ in range(settings.VA_ROUNDS):
        base = place_range(each * len(parts), wanted)
        hello.send(client, grant(job, gathered, base, each, choice))
        accept = hello.receive(client)
        if not isinstance(accept, hello.Accept):
            raise EngineError("the client did not answer the grant")
        if accept.ok:
            choice.conclude(client, accept, job["transport"])
            return [(base + index * each, each) for index in range(len(parts))]
        session.unreserve(base, each * len(parts))
        wanted = accept.va_base
    raise EngineError("client and driver found no addresses that are free on both sides")


def grant(job: dict[str, Any], gathered: dict[str, Any], base: int, each: int, choice: Choice) -> hello.Grant:
    """The message that opens a session."""
    return hello.Grant(
        session=job["session"],
        devices=[
            device(part, gathered["devices"][part["gpu"]], base + i * each, each)
            for i, part in enumerate(job["parts"])
        ],
        driver_version=gathered["driver_version"],
        ring_bytes=job["ring_bytes"],
        bulk_window=settings.BULK_WINDOW,
        priority_least=0,
        priority_greatest=settings.PRIORITY_GREATEST,
        server=job["server"],
        va_base=base,
        va_bytes=each * len(job["parts"]),
        carrier=choice.name,
        carrier_blob=choice.blob,
        carrier_why=choice.why,
    )


def device(part: dict[str, Any], known: dict[str, Any], base: int, size: int) -> hello.Device:
    """One device as the program sees it: the GPU's facts, the partition's size."""
    return hello.Device(
        known["name"],
        bytes.fromhex(known["uuid"]),
        part["memory"],
        known["attributes"],
        base,
        size,
        known["pci"],
    )


def serve(supervisor: socket.socket, job: dict[str, Any], fds: list[int], gathered: dict[str, Any]) -> str:
    """One session from grant to end. The line that says why it ended."""
    from . import session, worker
    from .account import Account
    from .images import Images

    client = socket.socket(fileno=fds[0])
    client.settimeout(settings.HANDSHAKE_SECONDS)
    greeting = hello.Hello(**job["hello"])
    try:
        choice = choose(client, job)
        ranges = agree(client, greeting, job, gathered, choice)
        link.send(supervisor, {"carrier": choice.name, "why": choice.why})
    except (OSError, ValueError, MemoryError, EngineError) as error:
        refuse(client, hello.REASON_RESOURCES, str(error))
        return f"handshake failed: {error}"
    account = Account(fd=fds[1])
    images = Images(Path(job["images"]) if job["images"] else None)
    client.detach()  # the carrier's from here on
    handle = session.Handle(
        choice.carrying,
        session.devices([(part["gpu"], *where) for part, where in zip(job["parts"], ranges, strict=True)]),
        account.address,
        job["slot"],
        images,
        job["ring_bytes"],
        settings.BULK_WINDOW,
        job["peer"],
    )
    _, why = worker.serve(handle)
    in_place, copied = handle.bulk()
    return f"{why}; bulk data: {in_place} bytes in place, {copied} copied" if in_place else str(why)


def choose(client: socket.socket, job: dict[str, Any]) -> Choice:
    """What carries the session, by the client's offers and this server's setting."""
    offered = [(name, bytes.fromhex(blob)) for name, blob in job["carriers"]]
    return Choice(
        client, offered, job["transport"], ring_bytes=job["ring_bytes"], bulk_window=settings.BULK_WINDOW
    )


def refuse(client: socket.socket, reason: int, message: str) -> None:
    """Tells a client why there is no session; it may be gone already."""
    try:
        hello.send(client, hello.Refusal(reason=reason, message=message))
    except OSError:
        pass


def main() -> None:
    """Reports to the supervisor, waits for a session, serves it."""
    supervisor = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent()
    leave_the_terminal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        driver.load(driver.Library(sys.argv[2], Path(sys.argv[3])))
        gathered = facts.gather()
        from . import session, worker  # while warm, so that a session starts quickly

        session.keep_output()

        gathered["table_hash"] = worker.TABLE_HASH
        if sys.argv[2] == "softgpu":  # clients' kernels are code in this process
            confine(programs=True, network=True)
    except (EngineError, ImportError) as error:
        link.send(supervisor, {"failed": str(error)})
        os._exit(1)
    link.send(supervisor, {"ready": gathered})
    order = link.receive(supervisor)
    if order is None:
        os._exit(0)
    threading.Thread(target=watch, args=(supervisor,), daemon=True).start()
    why = serve(supervisor, *order, gathered)
    link.send(supervisor, {"ended": why})
    os._exit(0)


if __name__ == "__main__":
    main()
