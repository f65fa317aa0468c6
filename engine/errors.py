"""What goes wrong on the engine's side, in one line for people. Must not know: who raises it."""

from __future__ import annotations


class EngineError(Exception):
    """str(error) is one line: what happened, where, what to do."""
