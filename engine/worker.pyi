"""Typing of worker.pyx."""

from .session import Handle

TABLE_HASH: int

def serve(handle: Handle) -> tuple[int, str]: ...
