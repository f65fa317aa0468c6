"""What RDMA devices this machine has and what they can do: found with pyverbs, told as plain data.

pyverbs is optional (Debian's python3-pyverbs, or PyPI's as remora[rdma]); the data path does not use it. The
numbers of the verbs interface below are those of libibverbs's public header, infiniband/verbs.h.
Must not know: channels, links, sessions.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSFS = Path("/sys/class/infiniband")
STATES = {1: "down", 2: "init", 3: "armed", 4: "active", 5: "active (deferred)"}
LINK_LAYERS = {0: "unspecified", 1: "infiniband", 2: "ethernet"}
TRANSPORTS = {0: "infiniband", 1: "iwarp", 2: "usnic", 3: "usnic udp", 4: "unspecified"}
GID_KINDS = {0: "ib", 1: "roce v1", 2: "roce v2"}  # pyverbs asks the kernel, whose numbers these are
LANES = {1: 1, 2: 4, 4: 8, 8: 12, 16: 2}
LANE_GBIT = {1: 2.5, 2: 5.0, 4: 10.0, 8: 10.3, 16: 14.1, 32: 25.8, 64: 53.1, 128: 106.3, 256: 212.5}
ON_DEMAND = 1  # IBV_ODP_SUPPORT
LOCAL_WRITE = 1  # IBV_ACCESS_LOCAL_WRITE
GIDS_MOST = 1024


class NoVerbs(RuntimeError):
    """RDMA devices can't be asked for. str() says why and what would help."""


@dataclass(frozen=True)
class Gid:
    """One of a port's addresses: what a peer must name to reach it."""

    index: int  # in the port's table: what a queue pair is given
    address: str  # as IPv6
    kind: str  # ib, roce v1, roce v2
    interface: str  # the network card's name; empty for InfiniBand

    @property
    def ipv4(self) -> str | None:
        mapped = ipaddress.IPv6Address(self.address).ipv4_mapped
        return str(mapped) if mapped else None

    @property
    def ip(self) -> str:
        """The address as the card shows it."""
        return self.ipv4 or str(ipaddress.IPv6Address(self.address))


@dataclass(frozen=True)
class Port:
    number: int
    state: str
    link_layer: str  # infiniband, ethernet
    mtu: int  # bytes of a packet's payload now; mtu_most: at most
    mtu_most: int
    gbit: float  # signalling rate, all lanes
    lid: int
    message_bytes: int  # of one message at most
    gids: tuple[Gid, ...]

    @property
    def active(self) -> bool:
        return self.state.startswith("active")

    def best_gid(self) -> Gid | None:
        """What to offer a peer first: RoCE v2 over IPv4, which crosses routers, then v2 over any routable
        address, then whatever there is."""

        def rank(gid: Gid) -> tuple[bool, bool, bool]:
            v6 = ipaddress.IPv6Address(gid.address)
            return gid.kind == "roce v2", gid.ipv4 is not None, not v6.is_link_local

        return max(self.gids, key=rank, default=None)


@dataclass(frozen=True)
class Limits:
    """Of the whole device."""

    queue_pairs: int
    work_requests: int  # of a queue
    sges: int  # of a work request
    completion_queues: int
    completions: int  # of a queue
    regions: int
    region_bytes: int
    reads: int  # RDMA READs under way on a queue pair, from here
    shared_receive_queues: int


@dataclass(frozen=True)
class Device:
    name: str
    transport: str  # infiniband (RoCE too), iwarp, ...
    guid: str
    vendor: int
    part: int
    firmware: str
    numa_node: int | None
    limits: Limits
    on_demand_paging: bool  # regions without pinned pages
    dma_buf: bool  # a GPU's memory can be registered through a dma-buf
    dma_buf_why: str  # what the device said to it
    ports: tuple[Port, ...]

    @property
    def usable(self) -> bool:
        """Whether Remora's rdma transport could use it: reliable connections with immediate data."""
        return self.transport == "infiniband" and any(p.active and p.gids for p in self.ports)


def devices() -> list[Device]:
    """All of them, in the kernel's order; empty when there are none. Raises NoVerbs."""
    try:
        from pyverbs.device import get_device_list
        from pyverbs.pyverbs_error import PyverbsError
    except ImportError as error:
        raise NoVerbs(missing(error)) from None
    try:
        found = get_device_list()
    except PyverbsError as error:
        if names():
            raise NoVerbs(f"libibverbs can't ask this machine's {', '.join(names())}: {error}") from None
        return []
    return [describe(device) for device in found]


def names() -> list[str]:
    """What the kernel calls its RDMA devices, whether or not they can be asked."""
    return sorted(path.name for path in SYSFS.glob("*"))


def missing(error: ImportError) -> str:
    """Why there is no pyverbs, and how to get it."""
    there = f"this machine has {', '.join(names())}, but " if names() else ""
    if "libibverbs" in str(error) or "librdmacm" in str(error):
        return f"{there}pyverbs can't load rdma-core ({error}): install ibverbs-providers and librdmacm1"
    return (
        f"{there}pyverbs is not installed: take your distribution's (Debian: python3-pyverbs), which matches "
        "its rdma-core, or pip install 'remora[rdma]', which builds one"
    )


def describe(found: Any) -> Device:
    from pyverbs.device import Context

    name = found.name.decode()
    with Context(name=name) as context:
        attributes, more = context.query_device(), context.query_device_ex()
        able, why = dma_buf(context)
        return Device(
            name=name,
            transport=TRANSPORTS.get(found.transport_type, "unknown"),
            guid=attributes.node_guid.to_bytes(8, "little").hex(":", 2),
            vendor=attributes.vendor_id,
            part=attributes.vendor_part_id,
            firmware=text(attributes.fw_version),
            numa_node=numa_node(name),
            limits=limits(attributes),
            on_demand_paging=bool(more.odp_caps.general_caps & ON_DEMAND),
            dma_buf=able,
            dma_buf_why=why,
            ports=tuple(port(context, n) for n in range(1, attributes.phys_port_cnt + 1)),
        )


def limits(attributes: Any) -> Limits:
    return Limits(
        queue_pairs=attributes.max_qp,
        work_requests=attributes.max_qp_wr,
        sges=attributes.max_sge,
        completion_queues=attributes.max_cq,
        completions=attributes.max_cqe,
        regions=attributes.max_mr,
        region_bytes=attributes.max_mr_size,
        reads=attributes.max_qp_rd_atom,
        shared_receive_queues=attributes.max_srq,
    )


def port(context: Any, number: int) -> Port:
    attributes = context.query_port(number)
    lanes, gbit = LANES.get(attributes.active_width, 1), LANE_GBIT.get(attributes.active_speed, 0.0)
    return Port(
        number=number,
        state=STATES.get(attributes.state, "unknown"),
        link_layer=LINK_LAYERS.get(attributes.link_layer, "unknown"),
        mtu=mtu_bytes(attributes.active_mtu),
        mtu_most=mtu_bytes(attributes.max_mtu),
        gbit=lanes * gbit,
        lid=attributes.lid,
        message_bytes=attributes.max_msg_sz,
        gids=tuple(gids(context, number)),
    )


def mtu_bytes(code: int) -> int:
    """enum ibv_mtu: 1 is 256 bytes, 5 is 4096."""
    return 128 << code if 1 <= code <= 5 else 0


def gids(context: Any, number: int) -> Iterator[Gid]:
    for entry in context.query_gid_table(GIDS_MOST):
        if entry.port_num == number:
            kind = GID_KINDS.get(entry.gid_type, "unknown")
            address = str(ipaddress.IPv6Address(entry.gid_str()))
            yield Gid(entry.gid_index, address, kind, card(entry.ndev_ifindex))


def card(index: int) -> str:
    """The network card's name; empty when it has none in this network namespace."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return ""


def dma_buf(context: Any) -> tuple[bool, str]:
    """Whether the device takes a dma-buf. It is offered a descriptor that is none: a device that knows
    dma-bufs says so (EBADF); one that doesn't says that it can't."""
    from pyverbs.pyverbs_error import PyverbsError

    try:
        from pyverbs.mr import DmaBufMR
        from pyverbs.pd import PD
    except ImportError:
        return False, "this pyverbs is too old to ask"
    with PD(context) as domain:
        try:
            DmaBufMR(domain, 4096, LOCAL_WRITE, -1).close()
        except PyverbsError as error:
            code = getattr(error, "error_code", 0) or 0
            return code == errno.EBADF, os.strerror(code) if code else str(error)
    return True, ""


def numa_node(name: str) -> int | None:
    try:
        node = int((SYSFS / name / "device" / "numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def memlock_bytes() -> int | None:
    """How much memory this process may pin, None without a limit. Registered memory is pinned."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY or may_pin_all() else soft


def may_pin_all() -> bool:
    """Whether this process has CAP_IPC_LOCK, with which the limit does not hold."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 14 & 1)
    return False
