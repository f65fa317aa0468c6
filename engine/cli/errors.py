"""Failures that a user can cause or mend: each is one line that says what happened and what to do."""

from __future__ import annotations


class Problem(Exception):
    """str() is the line for the user; status is the exit status of `remora`."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def explain(error: BaseException) -> str:
    """One line about an error of the operating system, or of the user's keyboard."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
