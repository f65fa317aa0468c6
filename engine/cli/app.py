"""The command line: parses, hands over to one file for each subcommand, and turns failures into one line.

Must not know: how any subcommand does its work.
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from remora import __version__
from remora.engine.cli.errors import Problem, explain
from remora.engine.settings import DEFAULT_PORT

HERE = f"127.0.0.1:{DEFAULT_PORT}"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""GPUs lent over the network. An unmodified CUDA program runs here; its GPU is elsewhere.

    Try it on one machine, even without a GPU (a software GPU answers then):

        [bold]remora run -- ./vectorAdd[/]

    On the machine with the GPU, and on the one without:

        [bold]remora serve --listen 0.0.0.0:7401 --token-file secret[/]

        [bold]remora run --server gpubox:7401 --token-file secret -- python train.py[/]
    """,
)


class Driver(str, Enum):
    """Which libcuda.so.1 the engine drives."""

    auto = "auto"
    nvidia = "nvidia"
    softgpu = "softgpu"


TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", help="File that holds the secret shared by server and clients.", show_default=False
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        envvar="REMORA_ENGINE",
        metavar="HOST:PORT",
        show_default=False,
        help="Where `remora serve` runs. Without it, an engine is started here for the length of the run.",
    ),
]
DriverChoice = Annotated[
    Driver,
    typer.Option(
        help="The driver to serve: NVIDIA's, the software GPU, or NVIDIA's where there is one (auto)."
    ),
]
Gpus = Annotated[int, typer.Option("-n", "--gpus", min=1, max=64, help="How many GPUs the program sees.")]
Fraction = Annotated[
    float | None,
    typer.Option(
        "-p",
        "--fraction",
        metavar="FRACTION",
        show_default=False,
        help="Share of each GPU's memory, above 0 up to 1. The program sees it as the GPU's size.",
    ),
]
Mebibytes = Annotated[
    int | None,
    typer.Option(
        "-m",
        "--memory",
        min=1,
        metavar="MIB",
        show_default=False,
        help="Memory of each GPU in MiB, instead of a share.",
    ),
]
TransportChoice = Annotated[
    str,
    typer.Option(
        "--transport",
        metavar="NAME",
        help="What carries the calls: auto, one of Remora's own by name, or yours as MODULE:CLASS "
        "(docs/transports.md).",
    ),
]
Command = Annotated[
    list[str],
    typer.Argument(
        metavar="-- COMMAND ...", show_default=False, help="The program and its arguments, after two dashes."
    ),
]
# Options after the first word of COMMAND are the command's own.
PASS_THROUGH = {"allow_interspersed_args": False, "ignore_unknown_options": False}


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"remora {__version__}")
        raise typer.Exit


@app.callback()
def remora(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: remora serve --listen 0.0.0.0:7401 --token-file secret")
def serve(
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Address to listen on. One that other machines can reach needs --token-file.",
        ),
    ] = HERE,
    driver: DriverChoice = Driver.auto,
    token_file: TokenFile = None,
    transport: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What carries the calls: auto (shared memory on one machine, else rdma, else tcp), or the "
            "one to use: programs that can't are refused.",
        ),
    ] = "auto",
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Lend this machine's GPUs until interrupted."""
    from remora.engine.cli import serve as command

    command.serve(listen, driver.value, token_file, transport, ready_fd, with_parent)


@app.command(
    context_settings=PASS_THROUGH,
    epilog="Examples: remora run -- nvidia-program --flag   |   "
    "remora run -s gpubox:7401 -p 0.25 -- python train.py   |   remora run -n 2 -m 2048 -- ./two_gpus",
)
def run(
    command: Command,
    server: Server = None,
    gpus: Gpus = 1,
    fraction: Fraction = None,
    memory: Mebibytes = None,
    driver: DriverChoice = Driver.auto,
    token_file: TokenFile = None,
    transport: TransportChoice = "auto",
) -> None:
    """Run a CUDA program on GPUs that are elsewhere. Exit status and signals are the program's own."""
    from remora.engine.cli import run as subcommand

    request = subcommand.Request(server, gpus, fraction, memory, driver.value, token_file, transport)
    subcommand.run(command, request)


@app.command("list", epilog="Example: remora list --server gpubox:7401 --token-file secret")
def list_gpus(
    server: Annotated[
        str,
        typer.Option(
            "--server", "-s", envvar="REMORA_ENGINE", metavar="HOST:PORT", help="Where `remora serve` runs."
        ),
    ] = HERE,
    token_file: TokenFile = None,
) -> None:
    """Show a server's GPUs, what is free, and who uses the rest."""
    from remora.engine.cli import listing

    listing.show(server, token_file)


@app.command("rdma", epilog="Example: remora rdma --json")
def rdma_devices(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything, as JSON.")] = False,
) -> None:
    """Show this machine's RDMA devices, and whether Remora can use them."""
    from remora.engine.cli import rdma

    rdma.show(as_json)


@app.command(context_settings=PASS_THROUGH, epilog="Example: remora doctor -- python train.py")
def doctor(
    command: Command,
    server: Server = None,
    gpus: Gpus = 1,
    fraction: Fraction = None,
    memory: Mebibytes = None,
    driver: DriverChoice = Driver.auto,
    token_file: TokenFile = None,
    transport: TransportChoice = "auto",
) -> None:
    """Run a program and report what it asked of the driver, what was missing, and what it waited for."""
    from remora.engine.cli import doctor as subcommand
    from remora.engine.cli.run import Request
    from remora.shim.launcher.process import leave_as

    request = Request(server, gpus, fraction, memory, driver.value, token_file, transport)
    leave_as(subcommand.examine(command, request))


@app.command(epilog="Example: remora relay --transport mine.py:Mine --listen ADDRESS --to 127.0.0.1:7401")
def relay(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen at, as the transport understands it.")
    ],
    transport: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="Your transport: a module or a file, and its class.")
    ],
    to: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where `remora serve` runs.")] = HERE,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Lead programs that come over your own transport to an engine on this machine."""
    from remora.engine.cli import relay as command

    command.relay(transport, listen, to, ready_fd, with_parent)


def main() -> None:
    """Entry point of `remora`. What a user can cause is one line on stderr and a non-zero exit status."""
    try:
        app()
    except Problem as problem:
        print(f"remora: {problem}", file=sys.stderr)
        sys.exit(problem.status)
    except (OSError, KeyboardInterrupt) as error:
        print(f"remora: {explain(error)}", file=sys.stderr)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
