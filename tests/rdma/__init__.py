"""Real verbs on machines that have no RDMA hardware: Soft-RoCE in a guest kernel, and what is tested there.

`python -m tests.rdma` runs everything in inside/, in the guest. On the host, pytest leaves inside/ alone.
"""

from __future__ import annotations

import os
import socket


def in_guest() -> bool:
    """Whether this process runs in a guest of ours. The guest's own init names the machine: a variable alone
    could be left over on the host."""
    return bool(os.environ.get("REMORA_GUEST")) and socket.gethostname() == "remora-guest"
