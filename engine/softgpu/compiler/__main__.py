"""Commands of the compiler: `serve` is what the driver starts, `explain` and `compile` are for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from remora.engine.softgpu.compiler import abi

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Compile PTX for the software GPU.")


@app.command()
def serve(
    cache: Annotated[Path | None, typer.Option(help="Cache folder; the default is the driver's own.")] = None,
    ready_fd: Annotated[
        int, typer.Option(help="Descriptor that gets one line: ready, or what is wrong.")
    ] = -1,
    idle: Annotated[
        float, typer.Option(help="Exit after this many seconds without a request.")
    ] = abi.SERVICE_IDLE_S,
) -> None:
    """Run the compile service."""
    from remora.engine.softgpu.compiler.service import Say

    say = Say(ready_fd)
    try:
        from remora.engine.softgpu.compiler import cache as cache_module
        from remora.engine.softgpu.compiler import service

        folder = cache or cache_module.default_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if ready_fd >= 0:
            service.detach(ready_fd, folder / "service.log")
        service.serve(folder, idle, say)
    except Exception as error:
        say(f"{type(error).__name__}: {error}")
        raise


def _module(image: Path):  # type: ignore[no-untyped-def]
    from remora.engine.softgpu.compiler.errors import CompileError
    from remora.engine.softgpu.compiler.translate import module_from_image

    try:
        return module_from_image(image.read_bytes())
    except CompileError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="PTX text or a fatbin.", exists=True, dir_okay=False)],
) -> None:
    """List a module's kernels, and for each whether and how it can be compiled."""
    from remora.engine.softgpu.compiler.errors import PtxError
    from remora.engine.softgpu.compiler.translate import explain as say_where
    from remora.engine.softgpu.compiler.unit import Unit

    module = _module(image)
    for entry in module.kernels():
        unit = Unit(module)
        try:
            unit.kernel(entry.name)
            verdict = unit.mode
        except PtxError as error:
            verdict = say_where(module, error)
        typer.echo(f"{entry.name}: {verdict}")


@app.command()
def ir(
    image: Annotated[Path, typer.Argument(help="PTX text or a fatbin.", exists=True, dir_okay=False)],
    kernel: Annotated[str, typer.Argument(help="The kernel's mangled name.")],
    optimise: Annotated[bool, typer.Option(help="After LLVM's passes.")] = False,
) -> None:
    """Print a kernel's LLVM IR."""
    from remora.engine.softgpu.compiler import native
    from remora.engine.softgpu.compiler.errors import PtxError
    from remora.engine.softgpu.compiler.translate import explain as where
    from remora.engine.softgpu.compiler.unit import Unit

    module = _module(image)
    if kernel not in {e.name for e in module.kernels()}:
        raise typer.BadParameter(f"no kernel {kernel}; `explain` lists them")
    unit = Unit(module)
    try:
        unit.kernel(kernel)
    except PtxError as error:
        typer.echo(where(module, error), err=True)
        raise typer.Exit(1) from error
    typer.echo(str(native.optimised(unit.text())) if optimise else unit.text())


@app.command()
def coverage(
    page: Annotated[Path, typer.Argument(help="The page to write, docs/ptx-coverage.md.")],
    check: Annotated[bool, typer.Option(help="Only say whether it is up to date.")] = False,
) -> None:
    """Write the table of supported PTX."""
    from remora.engine.softgpu.compiler.coverage import table

    if not check:
        page.write_text(table())
    elif not page.exists() or page.read_text() != table():
        typer.echo(f"{page} is not up to date: write it again without --check", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
