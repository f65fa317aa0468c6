"""The command `remora`. Each subcommand is one file; heavy imports happen only in the one that runs."""

from remora.engine.cli.app import main

__all__ = ["main"]
