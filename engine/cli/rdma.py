"""`remora rdma`: this machine's RDMA devices, what they can do, and which address peers are offered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from remora.engine.cli.errors import Problem
from remora.transport import discover
from remora.transport.discover import Device, Port

MIB = 1 << 20


def show(as_json: bool) -> None:
    """Prints every device. Raises Problem when they can't be asked for, or there are none."""
    try:
        found = discover.devices()
    except discover.NoVerbs as error:
        raise Problem(str(error)) from None
    if as_json:
        print(json.dumps([asdict(device) for device in found], indent=2))
    elif not found:
        raise Problem("this machine has no RDMA device: Remora uses tcp here (shm within the machine)")
    else:
        console = Console()
        for device in found:
            console.print(address_table(device))
            console.print(*notes(device), sep="\n", highlight=False)
        console.print(*memlock_notes(), sep="\n", highlight=False)


def address_table(device: Device) -> Table:
    table = Table("port", "GID", "address", "kind", "card", "", title=device.name, title_justify="left")
    for port in device.ports:
        offered = port.best_gid() if port.active else None
        for gid in port.gids:
            mark = "[green]offered to peers[/]" if gid == offered else ""
            table.add_row(str(port.number), str(gid.index), gid.ip, gid.kind, gid.interface, mark)
    return table


def notes(device: Device) -> Iterator[str]:
    yield from (port_note(port) for port in device.ports)
    limits = device.limits
    yield f"  {limits.queue_pairs:,} queue pairs of {limits.work_requests:,} work requests"
    yield f"  {limits.regions:,} regions, {limits.reads} reads at a time"
    yield "  dma-buf: " + (
        "yes: a GPU that exports its memory is reached without a copy"
        if device.dma_buf
        else f"no ({device.dma_buf_why}): an NVIDIA GPU's memory goes through pinned buffers"
    )
    paging = "yes" if device.on_demand_paging else "no"
    yield f"  on-demand paging: {paging}; NUMA node: {'-' if device.numa_node is None else device.numa_node}"
    if device.usable:
        yield "  [green]Remora can use it[/]"
    else:
        yield f"  [yellow]Remora can't use it: {why_not(device)}[/]"


def port_note(port: Port) -> str:
    mtu = str(port.mtu) if port.mtu == port.mtu_most else f"{port.mtu} (could be {port.mtu_most})"
    return f"  port {port.number}: {port.state}, {port.link_layer}, {port.gbit:g} Gbit/s, MTU {mtu}"


def why_not(device: Device) -> str:
    if device.transport != "infiniband":
        return f"{device.transport} has no immediate data"
    if not any(port.active for port in device.ports):
        return "no port is active: is the cable plugged in and the card up?"
    return "no active port has an address: give its network card one"


def memlock_notes() -> Iterator[str]:
    limit = discover.memlock_bytes()
    if limit is None:
        yield "memory that may be registered: no limit"
    else:
        yield f"memory that may be registered: {limit // MIB:,} MiB (ulimit -l); more is staged"
