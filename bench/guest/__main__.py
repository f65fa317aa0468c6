"""The command line: see the package's first lines."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from remora.bench.guest import NoGuest, choose
from remora.bench.guest import __doc__ as about
from remora.bench.guest.request import FAILED, Request


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m remora.bench.guest",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--build", action="store_true", help="only make ready what is needed, also after a failure"
    )
    parser.add_argument(
        "--rw", type=Path, action="append", default=[], metavar="DIR", help="keep what is written"
    )
    parser.add_argument(
        "--nics", choices=("none", "one", "two"), default="one", help="RDMA devices: see `nics`"
    )
    parser.add_argument("--mem", type=int, default=3072, metavar="MIB", help="the guest's memory")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--console", action="store_true", help="show the kernel's messages at the end")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    return parser.parse_args(arguments)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the guest ends too
    options = parse(sys.argv[1:])
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    try:
        if options.build:
            choose.prepare(again=True)
        if not command:
            return 0 if options.build else FAILED
        return choose.run(
            Request(command, options.rw, options.nics, options.timeout, options.mem, options.console)
        )
    except NoGuest as reason:
        print(f"guest: {reason}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
