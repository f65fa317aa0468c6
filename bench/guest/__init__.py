"""A throw-away Linux with Soft-RoCE devices, in which a command of this machine runs.

The guest sees the host's own root folder under a layer of RAM: same paths, same Python, same checkout. What a
command writes there is gone with the guest, except in folders named with --rw.

    python -m remora.bench.guest -- COMMAND...     runs COMMAND in it; the exit status is the command's
    python -m remora.bench.guest --build           makes ready what that needs (minutes the first time)

Two kinds, tried in this order: a kernel built for user mode, which is an ordinary process and starts in half
a second (kernel.py, uml.py), and Debian's stock kernel under QEMU, 25 times slower (stock.py, qemu.py).
Must not know: Remora.
"""

from __future__ import annotations


class NoGuest(Exception):
    """No guest can run here. str() says why, and what would help."""
