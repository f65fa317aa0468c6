"""Reads the secret that a server and its clients share."""

from __future__ import annotations

from pathlib import Path

from remora.engine.cli.errors import Problem

LONGEST = 4096  # bytes; a token is a line, a longer file is a mistake


def read(path: Path | None) -> str | None:
    """The token in the file, without surrounding space; None without a file. Raises Problem."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST + 1)
        token = raw.decode().strip()
    except OSError as error:
        raise Problem(f"--token-file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Problem(f"--token-file {path}: not text; put one line of letters and digits there") from None
    if not token or len(raw) > LONGEST:
        what = "empty" if not token else f"longer than {LONGEST} bytes"
        raise Problem(
            f"--token-file {path}: {what}; make one with: head -c 32 /dev/urandom | base64 > {path}"
        )
    return token
