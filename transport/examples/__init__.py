"""Transports to read, copy and change; each is one file, used by its name: `--transport MODULE:CLASS`."""
