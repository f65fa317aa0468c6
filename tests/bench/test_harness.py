"""The whole harness, with tiny runs: server, client, raw partner, figure, file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_measures_a_call_and_writes_its_figure(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "remora.bench", "--quick", "--output", str(output)]
    done = subprocess.run(
        [*command, "--only", "test_sync_call and one"], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {figure["name"]: figure for figure in json.loads(output.read_text())["figures"]}
    sync = figures["sync_call.tcp"]
    assert sync["unit"] == "x raw ping-pong" and 0.2 < sync["ratio"] < 100
    assert sync["conditions"]["bytes_out"] >= 16, "the call went over the wire"
