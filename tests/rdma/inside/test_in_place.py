"""Over rdma, copies go from the program's pinned memory straight into the software GPU's memory and back.

Both ends count the bytes that lay in registered memory, of the program or the device, and those they copied.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import cuda_program

pytestmark = pytest.mark.timeout(110)
COUNTED = re.compile(r"bulk data: (\d+) bytes in place, (\d+) copied")


def test_no_payload_is_copied_on_either_end(tmp_path: Path) -> None:
    with harness.server(tmp_path, REMORA_SOFTGPU_DEVICES="1") as server:
        command = [*server.command("--transport", "rdma"), *cuda_program("in_place"), str(tmp_path)]
        result = harness.finish(command, harness.clean_environment(REMORA_LOG="info"), tmp_path)
        result.expect_success()
    moved = int(re.search(r"bytes (\d+)", result.output)[1])  # type: ignore[index]
    for end in (result.errors, server.log.read_text()):
        counts = COUNTED.search(end)
        assert counts, end
        assert (int(counts[1]), int(counts[2])) == (moved, 0)
