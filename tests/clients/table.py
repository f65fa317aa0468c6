"""Writes the figures in docs/clients.md from what the suites left in build/clients.

    python -m tests.clients.table

Each table stands between `<!-- NAME -->` and `<!-- end -->`, NAME being that of a result.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from tests.clients.runner import OUTPUT
from tests.programs import toolchain

PAGE = toolchain.ROOT / "docs" / "clients.md"

# What a cause says, and what it means; the first that fits.
CAUSES = (
    ("curand|cublas|nvJitLink|cusolver|cusparse|cufft", "a library of NVIDIA's that was not installed"),
    ("Only cupy raises", "a library of NVIDIA's that was not installed"),
    ("INVALID_PTX", "an instruction that is not supported"),
    ("NO_BINARY_FOR_GPU", "machine code only"),
    ("NOT_SUPPORTED|NotSupported", "a call that is not supported"),
    ("nvcc", "the machine's nvcc is of another version"),
    ("ModuleNotFoundError|ImportError", "a Python package that was not installed"),
    ("atom\\)|Regex didn't match|not found in", "looks for an instruction that this NVVM spells otherwise"),
    ("invalid device ordinal|InvalidDevice", "wants a second device"),
    ("process hung", "no end within 1 to 3 minutes, beside other work"),
    ("", "another"),
)


def meaning(cause: str) -> str:
    return next(words for pattern, words in CAUSES if re.search(pattern, cause, re.IGNORECASE))


def table(results: dict[str, dict[str, tuple[str, str]]]) -> str:
    tests = [outcome for module in results.values() for outcome in module.values()]
    tally = Counter(outcome for outcome, _ in tests)
    ran = sum(n for outcome, n in tally.items() if outcome not in ("skipped", "expected"))
    bad = Counter(meaning(c) for outcome, c in tests if outcome not in ("passed", "skipped", "expected"))
    share = 100 * tally["passed"] / max(ran, 1)
    lines = [
        f"{tally['passed']} of {ran} passed ({share:.1f} %), in {len(results)} modules; {tally['skipped']} "
        "skipped themselves.",
    ]
    if bad:
        lines += ["", "| tests that did not pass | cause |", "|---:|---|"]
        lines += [f"| {number} | {words} |" for words, number in bad.most_common()]
    return "\n".join(lines)


def main() -> None:
    page = PAGE.read_text()
    for file in sorted(Path(OUTPUT).glob("*.json")):
        fresh = f"<!-- {file.stem} -->\n{table(json.loads(file.read_text()))}\n<!-- end -->"
        page = re.sub(rf"<!-- {file.stem} -->.*?<!-- end -->", lambda _: fresh, page, flags=re.DOTALL)  # noqa: B023
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
