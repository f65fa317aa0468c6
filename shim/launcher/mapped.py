"""Which libcuda a running program has really mapped: it may have found another than ours."""

from __future__ import annotations

from pathlib import Path


class Observer:
    """Call it with the program's pid now and then while it runs; `seen` collects paths of libcuda.so*."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, pid: int) -> None:
        for process in [pid, *descendants(pid)]:
            self.seen |= libcuda_paths(process)


def libcuda_paths(pid: int) -> set[str]:
    """Paths of the libcuda.so* files mapped by one process; nothing if it can't be read."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count(" ") >= 5 and "/" in line}
    return {path for path in paths if Path(path).name.startswith("libcuda.so")}


def descendants(pid: int) -> list[int]:
    """Children of all threads of pid, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found
