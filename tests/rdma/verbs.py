"""Verbs by hand, with pyverbs alone: what the tests speak RDMA with. Debian 12's pyverbs 44 and PyPI's 57 on.

Must not know: Remora. So it is an independent check of what Remora does with the same devices.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pyverbs.addr import GID, AHAttr, GlobalRoute
from pyverbs.cq import CQ, CompChannel
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, RecvWR, SendWR


def constants() -> Any:
    """libibverbs's names: newer versions keep each in its enum, in a module of another name."""
    try:
        import pyverbs.libibverbs_enums as module
    except ImportError:
        import pyverbs.enums as module
    names = dict(vars(module))
    for value in vars(module).values():
        names.update(getattr(value, "__members__", {}))
    return SimpleNamespace(**{name: value for name, value in names.items() if name.startswith("IBV_")})


V = constants()
REMOTE = V.IBV_ACCESS_LOCAL_WRITE | V.IBV_ACCESS_REMOTE_WRITE | V.IBV_ACCESS_REMOTE_READ
PORT = 1
SECONDS = 20.0  # a completion that takes longer is lost


class Failed(RuntimeError):
    """A work request completed with an error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"completion status {status}")
        self.status = status


@dataclass(frozen=True)
class Address:
    """What the other side must know of a queue pair: travels by any other road."""

    qpn: int
    gid: str
    psn: int = 0


def gid_of(context: Context) -> tuple[int, str]:
    """Index and text of the RoCE v2 address that is an IPv4 one."""
    for entry in context.query_gid_table(64):
        text = entry.gid_str()
        if entry.gid_type == V.IBV_GID_TYPE_ROCE_V2 and ipaddress.IPv6Address(text).ipv4_mapped:
            return entry.gid_index, text
    raise RuntimeError(f"{context.name} has no IPv4 address")


class End:
    """One reliable connection's half: context, protection domain, one completion queue, queue pair."""

    def __init__(self, device: str = "rxe0", depth: int = 64, inline: int = 0, events: bool = False) -> None:
        self.context = Context(name=device)
        self.pd = PD(self.context)
        self.channel = CompChannel(self.context) if events else None
        self.cq = CQ(self.context, 2 * depth, None, self.channel, 0)
        cap = QPCap(
            max_send_wr=depth, max_recv_wr=depth, max_send_sge=1, max_recv_sge=1, max_inline_data=inline
        )
        init = QPInitAttr(qp_type=V.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=cap, sq_sig_all=0)
        self.qp = QP(self.pd, init)
        self.gid_index, self.gid = gid_of(self.context)
        ready = QPAttr(port_num=PORT)
        ready.qp_access_flags = REMOTE
        self.qp.to_init(ready)  # from now on receives can be posted

    @property
    def address(self) -> Address:
        return Address(self.qp.qp_num, self.gid)

    def connect(
        self,
        peer: Address,
        *,
        psn: int = 0,
        mtu: int | None = None,
        timeout: int = 15,
        retries: int = 6,
        rnr_retries: int = 7,
    ) -> None:
        """To ready-to-send. timeout: 4.096 us << timeout until a packet is sent again."""
        attr = QPAttr(port_num=PORT)
        attr.qp_access_flags = REMOTE
        attr.dest_qp_num = peer.qpn
        attr.path_mtu = mtu or self.context.query_port(PORT).active_mtu
        attr.sq_psn, attr.rq_psn = psn, peer.psn
        attr.max_rd_atomic = attr.max_dest_rd_atomic = 16
        attr.min_rnr_timer = 1
        # Soft-RoCE takes retry_cnt 7 for `for ever`, which is so only for rnr_retry.
        attr.timeout, attr.retry_cnt, attr.rnr_retry = timeout, retries, rnr_retries
        route = GlobalRoute(dgid=GID(peer.gid), sgid_index=self.gid_index)
        route.hop_limit = 64
        attr.ah_attr = AHAttr(gr=route, is_global=1, port_num=PORT)
        self.qp.to_rts(attr)

    def register(self, size: int, access: int = REMOTE, address: int | None = None) -> MR:
        """Memory of pyverbs's own, or the caller's at address."""
        return MR(self.pd, size, access, address=address) if address else MR(self.pd, size, access)

    def receive(self, mr: MR, n: int = 0, offset: int = 0, wr_id: int = 0) -> None:
        """Posts a receive; n = 0 is enough for immediate data."""
        self.qp.post_recv(RecvWR(wr_id=wr_id, num_sge=1, sg=[SGE(mr.buf + offset, n, mr.lkey)]))

    def post(
        self,
        opcode: int,
        mr: MR,
        n: int,
        offset: int = 0,
        *,
        to: tuple[int, int] | None = None,
        imm: int = 0,
        flags: int | None = None,
    ) -> None:
        """Posts a request. to: the peer's address and rkey. Signalled unless flags say otherwise."""
        wr = SendWR(
            opcode=opcode,
            num_sge=1,
            imm_data=socket.htonl(imm),
            sg=[SGE(mr.buf + offset, n, mr.lkey)],
            send_flags=V.IBV_SEND_SIGNALED if flags is None else flags,
        )
        if to:
            address, rkey = to
            wr.set_wr_rdma(rkey, address)
        self.qp.post_send(wr)

    def wait(self, n: int = 1, seconds: float = SECONDS) -> list[Any]:
        """n completions, in order. Raises Failed for one that failed, TimeoutError."""
        limit, done = time.monotonic() + seconds, []
        while len(done) < n:
            count, got = self.cq.poll(n - len(done))
            if count:
                done += got
            elif time.monotonic() > limit:
                raise TimeoutError(f"{len(done)} of {n} completions within {seconds} s")
            else:
                os.sched_yield()  # one CPU: let the device's kernel thread run
        for completion in done:
            if completion.status != V.IBV_WC_SUCCESS:
                raise Failed(completion.status)
        return done

    def close(self) -> None:
        """Everything that was made of this context, inner things first: left to the garbage collector, whose
        order is another, old versions of pyverbs crash."""
        self.context.close()

    def state(self) -> int:
        attr, _ = self.qp.query(V.IBV_QP_STATE)
        return int(attr.qp_state)


def immediate(completion: Any) -> int:
    """Immediate data in this machine's order."""
    return socket.ntohl(completion.imm_data)


def connect(a: End, b: End) -> None:
    """Two ends of this process with each other."""
    a.connect(b.address)
    b.connect(a.address)
