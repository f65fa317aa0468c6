"""The committed facts are those of the public header, wherever a toolkit of that version is at hand."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from remora.shim.gen import extract, facts
from tests.programs import toolchain

VERSION = 13000


def include_folder() -> Path:
    """Headers of the toolkit that compiles the test programs."""
    command = [toolchain.nvcc(), "--dryrun", "-c", "-x", "cu", "/dev/null"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    found = re.search(r'INCLUDES="-I(\S+?)"', said)
    assert found, said
    return Path(found[1])


def test_the_committed_facts_are_the_headers() -> None:
    include = include_folder()
    found = re.search(r"#define CUDA_VERSION (\d+)", (include / "cuda.h").read_text())
    if not found or int(found[1]) != VERSION:
        pytest.skip(f"the CUDA toolkit here is not of version {VERSION}")
    committed = json.loads((facts.API / f"cuda_{VERSION}.json").read_text())
    assert extract.extract(include) == committed


def test_no_text_of_the_header_is_kept() -> None:
    text = (facts.API / f"cuda_{VERSION}.json").read_text()
    assert "/*" not in text and "\\\\brief" not in text and "NVIDIA" not in text
