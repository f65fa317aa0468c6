"""Over rdma, copies go from the program's pinned memory straight into the software GPU's memory and back.

Both ends count the bytes that lay in registered memory, of the program or the device, and those they copied.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remora.transport.conformance.ends import wait_until
from tests.programs import harness
from tests.programs.harness import cuda_program

pytestmark = pytest.mark.timeout(110)
COUNTED = re.compile(r"bulk data: (\d+) bytes in place, (\d+) copied")


def counted(folder: Path) -> tuple[int, list[tuple[int, int]]]:
    """Bytes that the program moved; of each end, bytes in place and bytes copied."""
    folder.mkdir()
    with harness.server(folder, REMORA_SOFTGPU_DEVICES="1") as server:
        command = [*server.command("--transport", "rdma"), *cuda_program("in_place"), str(folder)]
        result = harness.finish(command, harness.clean_environment(REMORA_LOG="info"), folder)
        result.expect_success()
        wait_until(lambda: COUNTED.search(server.log.read_text()), 30)  # the worker's last words
    moved = int(re.search(r"bytes (\d+)", result.output)[1])  # type: ignore[index]
    ends = []
    for end in (result.errors, server.log.read_text()):
        counts = COUNTED.search(end)
        assert counts, end
        ends.append((int(counts[1]), int(counts[2])))
    return moved, ends


def test_no_payload_is_copied_on_either_end(tmp_path: Path) -> None:
    moved, ends = counted(tmp_path / "run")
    assert ends == [(moved, 0), (moved, 0)]
