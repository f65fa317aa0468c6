"""Debian's packages: those that must be installed, and those whose files alone are wanted.

Must not know: what the files are for.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from remora.bench.guest import NoGuest

ROOT = Path(__file__).resolve().parents[2]


def install(*names: str) -> None:
    """Installs what is missing. Raises NoGuest."""
    done = subprocess.run(
        [ROOT / ".ci" / "packages", *names], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise NoGuest(f"could not install Debian packages: {last_line(done.stdout)}")


def download(name: str, folder: Path) -> Path:
    """Fetches one package's file, not installed, into folder. Raises NoGuest."""
    for before in ([], ["apt-get", "update", "-qq"]):  # lists may be missing or old
        if before:
            subprocess.run(before, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            done = subprocess.run(
                ["apt-get", "download", "-qq", name],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError:
            raise NoGuest("no apt-get: the guest's kernel comes from Debian's packages") from None
        files = list(folder.glob(f"{name}_*.deb"))
        if done.returncode == 0 and files:
            return files[0]
    raise NoGuest(f"could not download Debian's {name}: {last_line(done.stdout)}")


def last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
