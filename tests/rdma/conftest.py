"""Tests in inside/ need RDMA devices, those in outside/ a guest: `python -m tests.rdma` runs both."""

from __future__ import annotations

import os

from tests.rdma import in_guest

collect_ignore = [
    *([] if in_guest() else ["inside"]),
    *([] if os.environ.get("REMORA_WITH_GUEST") else ["outside"]),
]
