"""Which guest runs: the user-mode kernel, else the stock kernel under QEMU.

Must not know: how either starts.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from types import ModuleType

from remora.bench.guest import NoGuest, qemu, uml
from remora.bench.guest.request import Request

KINDS: dict[str, ModuleType] = {uml.KIND: uml, qemu.KIND: qemu}


def prepare(again: bool = False) -> None:
    """Makes a guest ready. again: also one that failed a while ago. Raises NoGuest with all reasons."""
    select(again)


def kind() -> str:
    return str(select().KIND)


def run(request: Request) -> int:
    """The command's exit status; request.FAILED or TOO_LONG with a reason on stderr. Raises NoGuest."""
    return int(select().run(request))


@cache
def select(again: bool = False) -> ModuleType:
    """The first kind that can be made ready; $REMORA_GUEST_KIND names the only one to try."""
    wanted = os.environ.get("REMORA_GUEST_KIND")
    if wanted and wanted not in KINDS:
        raise NoGuest(f"REMORA_GUEST_KIND is {wanted}: it can be {' or '.join(KINDS)}")
    reasons = []
    for module in [KINDS[wanted]] if wanted else KINDS.values():
        try:
            module.prepare(again)
            return module
        except NoGuest as reason:
            reasons.append(f"{module.KIND}: {reason}")
            print(f"remora: no guest of kind {reasons[-1]}", file=sys.stderr, flush=True)
    raise NoGuest("; ".join(reasons))
